"""Stage 2, guard: hygiene of path, headers and framing, before anything else looks at the request.

Facts this file rests on. Nearly every request-smuggling and access-bypass attack needs two readers
that disagree on one request; so what could be read in two ways is refused (RFC 9112 §6.3, §11.2).
Servers that speak CGI or WSGI make ``X_User_Id`` and ``X-User-Id`` the same variable, some ``X.User.Id``
too, so no field whose name has more than letters, digits and hyphens is passed on. Identity headers
are trusted downstream, so a client's are taken off.
"""

from collections.abc import Iterable, Sequence

from starlette.types import ASGIApp, Scope

from metaproxy.check import Check, TargetCheck, no_application
from metaproxy.exchange import Exchange
from metaproxy.memo import Memo
from metaproxy.protocol import forwarded, identity_headers, proxy_fields
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import METHOD_OVERRIDES, Header, Headers, get, get_all, via_names
from metaproxy.protocol.paths import ambiguity
from metaproxy.protocol.spelling import Spellings
from metaproxy.verdicts import PASS, Verdict

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SINGLE = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"if-modified-since",
        b"if-unmodified-since",
        b"max-forwards",
        b"range",
        b"x-auth-token",
        b"x-service-token",
        b"x-storage-token",
    }
)
"""Fields that stand once in a request; the second could be the one that the upstream reads."""

_NOTEWORTHY = frozenset(
    {b"transfer-encoding", b"expect", b"max-forwards", b"via"} | METHOD_OVERRIDES | identity_headers.RESERVED
)

_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-"


class Guard(Check):
    """Refuses ambiguous requests; takes off headers that a client must not send.

    Answers by itself: 400 (ambiguous path or headers), 417, 431, 501, 508 (a forwarding loop).
    Writes ``client_address``, ``scheme`` and ``told_by_proxy``.

    Args:
        trusted_proxies: networks whose fields about the client are believed, ``unix`` for peers on a unix
            socket; anybody else's are taken off (``proxy_fields``).
        forwarded_header: the family of fields that they write: ``x-forwarded`` or ``forwarded``. The other
            is taken off.
        max_headers: how many header fields a request may have.
        max_header_bytes: how many bytes their names and values may have together.
        pseudonym: our name in Via, by which a loop is seen.
        max_passes: how often a request may already have passed a proxy of that name.
        templates: of paths that the line or the upstream knows; what matches others of them once case is
            ignored is ambiguous.
    """

    def __init__(
        self,
        app: ASGIApp = no_application,
        *,
        trusted_proxies: forwarded.Trusted = (),
        forwarded_header: forwarded.ForwardedHeader = "x-forwarded",
        max_headers: int = 100,
        max_header_bytes: int = 65536,
        pseudonym: str = "metaproxy",
        max_passes: int = 4,
        templates: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._trusted_proxies = tuple(trusted_proxies)
        self._believed = forwarded_header
        self._max_headers = max_headers
        self._max_header_bytes = max_header_bytes
        self._pseudonym = pseudonym
        self._max_passes = max_passes
        self._spellings = Spellings(templates)
        # Paths and names that were found in order, so that they need not be looked at again.
        self._plain_paths: Memo[bytes, None] = Memo()
        self._plain_names: Memo[tuple[bytes, ...], None] = Memo()

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Check the request and clean its headers."""
        if scope["method"] not in METHODS:
            return Fault(501, "The method is not implemented.", reason="method_unknown")
        raw_path = scope.get("raw_path") or scope["path"].encode()
        if raw_path not in self._plain_paths:
            problem = self._ambiguity(raw_path, scope["path"])
            if problem is not None:
                return Fault(400, f"The request is ambiguous: {problem}.", reason="path_ambiguous")
            self._plain_paths.keep(raw_path, None, len(raw_path))
        headers: list[Header] = scope["headers"]
        names = tuple([name for name, _ in headers])
        size = 0
        for name, value in headers:
            size += len(name) + len(value)
        if len(names) > self._max_headers or size > self._max_header_bytes:
            return Fault(431, "The request's header fields are too large.", reason="headers_too_large")
        if names not in self._plain_names:
            fault = self._check_names(exchange, scope, names)
            if fault is not None:
                return fault
        return PASS

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck | None:
        """Let any path pass that is not ambiguous, with this method if it is known."""
        return self._is_unambiguous if scope["method"] in METHODS and self._is_unambiguous(scope) else None

    def _is_unambiguous(self, scope: Scope) -> bool:
        return self._ambiguity(scope["raw_path"], scope["path"]) is None

    def _ambiguity(self, raw_path: bytes, path: str) -> str | None:
        return ambiguity(raw_path) or self._spellings.problem(path)

    def _check_names(self, exchange: Exchange, scope: Scope, names: tuple[bytes, ...]) -> Fault | None:
        """Look at which fields there are; most clients send the same few again and again."""
        headers: list[Header] = scope["headers"]
        if len(set(names)) != len(names) and (fault := _check_repeated(names)) is not None:
            return fault
        is_odd = bool(b"".join(names).translate(None, _PLAIN))
        if is_odd:
            scope["headers"] = headers = [pair for pair in headers if not pair[0].translate(None, _PLAIN)]
        if not _NOTEWORTHY.isdisjoint(names) or any(map(proxy_fields.is_told_by_proxies, names)):
            return self._look_closer(exchange, scope, headers)
        if not is_odd:
            self._plain_names.keep(names, None, sum(map(len, names)))
        return None

    def _look_closer(self, exchange: Exchange, scope: Scope, headers: list[Header]) -> Fault | None:
        """Check what only few requests have: framing, expectations, loops, forwarded and identity fields."""
        if (fault := _check_framing(headers)) is not None:
            return fault
        expectations = get_all(headers, b"expect") if scope.get("http_version") != "1.0" else []
        if any(value.lower() != b"100-continue" for value in expectations):
            return Fault(417, "The expectation cannot be met.", reason="expectation_unknown")
        if scope["method"] == "OPTIONS" and _is_zero(get(headers, b"max-forwards")):
            # RFC 9110 §7.6.2: whoever must not pass a request on answers as its final recipient.
            return Fault(
                501, "OPTIONS must not be passed on, and is not answered here.", reason="method_unknown"
            )
        if via_names(headers, self._pseudonym) > self._max_passes:
            return Fault(508, "The request runs in a loop.", reason="loop_detected")
        if forwarded.is_trusted(exchange.client_address, self._trusted_proxies, is_unix=_is_unix(scope)):
            headers = self._believe(exchange, headers)
        else:
            headers = proxy_fields.without_told(headers)
        headers = [header for header in headers if header[0] not in METHOD_OVERRIDES]
        scope["headers"] = identity_headers.strip(headers)
        return None

    def _believe(self, exchange: Exchange, headers: list[Header]) -> list[Header]:
        """Take from ``headers`` who the client is; return them without what may not be believed."""
        headers = proxy_fields.nearest(proxy_fields.without_other_family(headers, self._believed))
        peer = exchange.client_address
        seen = forwarded.origin(headers, peer, exchange.scheme, self._trusted_proxies, self._believed)
        exchange.client_address, exchange.scheme = seen.address, seen.scheme
        told = seen.address if seen.address != peer else ""
        headers = proxy_fields.without_contradictions(headers, told, seen.scheme)
        exchange.told_by_proxy = proxy_fields.keyed(headers)
        return headers


def _is_zero(value: bytes | None) -> bool:
    return value is not None and value.isdigit() and not value.strip(b"0")


def _is_unix(scope: Scope) -> bool:
    """Say whether the peer is on a unix socket, as ASGI tells it: no client, and a server without a port."""
    server = scope.get("server")
    return not scope.get("client") and server is not None and server[1] is None


def _check_repeated(names: Sequence[bytes]) -> Fault | None:
    seen: set[bytes] = set()
    for name in names:
        if name in SINGLE and name in seen:
            return Fault(400, f"The field {name.decode()} stands twice.", reason="header_repeated")
        seen.add(name)
    return None


def _check_framing(headers: Headers) -> Fault | None:
    """RFC 9112 §6.1: a Transfer-Encoding beside a Content-Length, or one that is not chunked, is refused."""
    codings = get_all(headers, b"transfer-encoding")
    if not codings:
        return None
    if get_all(headers, b"content-length"):
        return Fault(400, "The body's length is told twice.", reason="framing_ambiguous", close=True)
    if [coding.strip().lower() for coding in codings] != [b"chunked"]:
        return Fault(501, "The transfer coding is not known.", reason="transfer_coding_unknown", close=True)
    return None
