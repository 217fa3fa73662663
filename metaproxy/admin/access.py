"""Who may use the admin listener: whoever shows the token, where there is one."""

import hmac

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PUBLIC = frozenset({"/healthz", "/readyz"})
"""What a prober of the platform asks without a token: it learns no more than well or not well."""


class BearerToken:
    """Lets a request through that carries ``Authorization: Bearer <token>`` (RFC 6750 §2.1).

    Args:
        app: the admin application.
        token: the expected token; "" lets everybody through, for a listener that only this machine reaches.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._expected = b"Bearer " + token.encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http" or not self._expected or scope["path"] in PUBLIC or self._shown(scope):
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "a Bearer token is needed"}, 401, headers={"WWW-Authenticate": 'Bearer realm="metaproxy"'}
        )
        await refusal(scope, receive, send)

    def _shown(self, scope: Scope) -> bool:
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        # Compared in constant time: the time of a refusal tells nothing of the token.
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._expected)
