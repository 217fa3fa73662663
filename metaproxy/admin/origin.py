"""Which web pages may speak to the admin listener through the operator's browser: its own alone.

A listener on loopback that asks for no token can be reached by every page that the operator opens. Two
ways lead there. A page can send requests whose answers it cannot read: so what changes something must
be JSON, which no form can send, and must not come from another origin (Fetch Metadata, Origin). And a
name of the attacker's can be made to point at 127.0.0.1, so that the browser takes us for the
attacker's own server (DNS rebinding): so Host must be an address, ``localhost`` or a name that we were
told to listen on. If a token is needed the browser does not have it for foreign pages, and any Host
is right. Probes may come with any Host or none, because load balancers send none; under a foreign Host they
get the verdict without the reasons.
"""

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.admin.access import ADMITTED, PROBES

SAFE_METHODS = frozenset({"GET", "HEAD"})
SAME_SITE = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site that no foreign page can bring about."""

SECURITY_FIELDS = (
    (b"metaproxy-admin", b"1"),  # the commands tell our refusals from those of other servers by it
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class SameOrigin:
    """Refuses what foreign web pages send, and tells browsers how little our own page may do.

    Args:
        app: the admin application.
        names: the host names that the listener goes by, beside addresses and ``localhost``.
        has_token: whether a token is needed.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], has_token: Callable[[], bool]) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in names) | {"localhost"}
        self._has_token = has_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""

        async def send_secured(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *SECURITY_FIELDS]}  # type: ignore[misc] # ASGI
            await send(message)

        problem = self._problem(scope)
        if problem is not None:
            status, says = problem
            await JSONResponse({"error": says}, status)(scope, receive, send_secured)  # type: ignore[arg-type] # ASGI's own message type
            return

        await self.app(scope, receive, send_secured)  # type: ignore[arg-type] # ASGI's own message type

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        is_our_host = self._is_our_host(scope, headers.get("host", ""))
        if scope["path"] in PROBES:
            scope[ADMITTED] = is_our_host
            return None
        if not is_our_host:
            return 421, "this Host is none of ours: use the address of the listener"
        if scope["method"] in SAFE_METHODS:
            return None
        if headers.get("sec-fetch-site", "none") not in SAME_SITE or not _is_own_origin(headers):
            return 403, "requests of other web pages are refused"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "Content-Type: application/json is needed"
        return None

    def _is_our_host(self, scope: Scope, host: str) -> bool:
        server = scope.get("server")
        is_unix_socket = server is not None and server[1] is None
        if is_unix_socket or self._has_token():
            return True
        name = _hostname(host)
        return name in self._names or _is_address(name)


def _is_own_origin(headers: Headers) -> bool:
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
