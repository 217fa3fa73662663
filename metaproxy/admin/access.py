"""Who may use the admin listener: whoever shows the token, where there is one."""

import hmac
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ADMITTED = "metaproxy.admitted"
"""The scope's key under which stands whether the caller may see what is behind the token."""

PUBLIC = frozenset({"/", "/healthz", "/readyz"})
"""What is asked without a token. A prober learns no more than well or not; the page is the same for all."""

PUBLIC_PREFIX = "/page/"
"""The page's own files."""


class BearerToken:
    """Lets a request through that carries ``Authorization: Bearer <token>`` (RFC 6750 §2.1).

    Args:
        app: the admin application.
        token: returns the expected token, which a reload may change; "" lets everybody through, for a
            listener that only this machine reaches.
    """

    def __init__(self, app: ASGIApp, token: Callable[[], str]) -> None:
        self.app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        token = self._token()
        admitted = not token or _shows(scope, token)
        if admitted or scope["path"] in PUBLIC or scope["path"].startswith(PUBLIC_PREFIX):
            scope[ADMITTED] = admitted
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "a Bearer token is needed"},
            401,
            headers={"WWW-Authenticate": 'Bearer realm="metaproxy"'},
        )
        await refusal(scope, receive, send)


def _shows(scope: Scope, token: str) -> bool:
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    # Compared in constant time: the time of a refusal tells nothing of the token.
    return len(shown) == 1 and hmac.compare_digest(shown[0], b"Bearer " + token.encode())
