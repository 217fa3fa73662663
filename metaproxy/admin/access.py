"""The token of the admin listener, and what is open without it."""

import hmac
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ADMITTED = "metaproxy.admitted"
"""The key of the scope for whether the caller may see what is behind the token."""

PROBES = frozenset({"/healthz", "/healthz/", "/readyz", "/readyz/"})
"""Paths of load balancers and orchestrators: without a token, and under any Host or none."""

PUBLIC = frozenset({"/"}) | PROBES
"""Paths that need no token. A probe gets the verdict alone; the page is the same for all."""

PUBLIC_PREFIX = "/page/"
"""The page's own files."""

METRICS = "/metrics"

MISSING = "a Bearer token is needed"
WRONG = "the Bearer token is wrong"


class BearerToken:
    """Lets a request through that carries ``Authorization: Bearer <token>`` (RFC 6750 §2.1).

    Args:
        app: the admin application.
        token: returns the expected token, which a reload may change; "" lets every request through, for a
            listener that only this machine reaches.
        public_metrics: returns whether ``/metrics`` needs no token; a reload may change it.
    """

    def __init__(
        self, app: ASGIApp, token: Callable[[], str], public_metrics: Callable[[], bool] = lambda: False
    ) -> None:
        self.app = app
        self._token = token
        self._public_metrics = public_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        token = self._token()
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        admitted = not token or (len(shown) == 1 and _is_right(shown[0], token))
        if admitted or self._is_public(scope["path"]):
            # An earlier stage may have found that the caller must see no more than a stranger.
            scope[ADMITTED] = admitted and scope.get(ADMITTED, True)
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": WRONG if shown else MISSING},
            401,
            headers={"WWW-Authenticate": 'Bearer realm="metaproxy"'},
        )
        await refusal(scope, receive, send)

    def _is_public(self, path: str) -> bool:
        if path == METRICS:
            return self._public_metrics()
        return path in PUBLIC or path.startswith(PUBLIC_PREFIX)


def _is_right(field_value: bytes, token: str) -> bool:
    # RFC 9110 §11.1: the scheme is case-insensitive, and one or more spaces follow it.
    scheme, _, credential = field_value.partition(b" ")
    # Compared in constant time, so that the time of a refusal is no hint at the token.
    is_same = hmac.compare_digest(credential.strip(b" "), token.encode())
    return is_same and scheme.lower() == b"bearer"
