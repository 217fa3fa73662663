"""Which pages may read answers: Cross-Origin Resource Sharing, as pure rules.

Facts this file rests on (the Fetch standard §3.2). A browser lets a page of another origin read an answer
only where Access-Control-Allow-Origin names that origin, or is ``*`` and no credentials were sent. Before
a request that a form could not have made it asks with OPTIONS, Origin and Access-Control-Request-Method:
the preflight, which never carries a token. ``null`` is the origin of any sandboxed page, so it names nobody.
Whatever depends on Origin says so in Vary, or a cache between would hand one origin's answer to another.
Refusing is the browser's work: whoever is no browser can write any Origin.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from metaproxy.memo import Memo
from metaproxy.protocol.expressions import compiled
from metaproxy.protocol.header_edits import HeaderEdits
from metaproxy.protocol.headers import Header
from metaproxy.protocol.option_values import Regex
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import Duration
from metaproxy.settings.values import FieldName, Method
from metaproxy.settings.written import text_of

ANY = "*"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""An origin as browsers write it (RFC 6454 §6.2): scheme, host and port, in lower case, nothing after."""

MAX_ORIGIN_LENGTH = 300
"""A scheme, a host name of 253 octets and a port; nothing longer is held against a pattern."""

PROBES = ("https://a.invalid", "http://a.invalid", "https://a.invalid:8443")
"""Origins that nobody trusts: a pattern that fits one fits everybody."""

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
"""Methods of the compute API."""

REQUEST_HEADERS = (
    "Content-Type",
    "If-None-Match",
    "OpenStack-API-Version",
    "X-Auth-Token",
    "X-OpenStack-Nova-API-Version",
    "X-OpenStack-Request-ID",
)
"""Fields that the API's clients send; browsers always allow Accept and its like."""

RESPONSE_HEADERS = (
    "Age",
    "Cache-Status",
    "ETag",
    "Location",
    "OpenStack-API-Version",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Compute-Request-Id",
    "X-OpenStack-Nova-API-Version",
    "X-OpenStack-Request-ID",
)
"""Fields that the API and metaproxy answer with; browsers always show Content-Type and its like."""

ALLOWED_ORIGIN = b"access-control-allow-origin"
FIELDS = frozenset(
    {
        ALLOWED_ORIGIN,
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-expose-headers",
        b"access-control-max-age",
    }
)


def fits_everybody(pattern: str) -> bool:
    """Say whether an origin that nobody trusts fits ``pattern``."""
    return any(map(compiled(pattern).matches, PROBES))


Origin = Annotated[
    str,
    text_of(
        "origin",
        rf"\*|{ORIGIN.pattern}",
        "an origin is scheme://host or scheme://host:port in lower case, without a path; or * for every one",
        "https://horizon.example",
    ),
]


class CorsSettings(Section):
    """Which pages in browsers may read answers (CORS)."""

    origins: tuple[Origin, ...] = ()
    """Origins whose pages may: https://horizon.example; * is every page of the world; [] is none."""
    origin_patterns: tuple[Regex, ...] = ()
    """Regular expressions (RE2) that the whole origin fits, for what origins cannot list."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = METHODS
    """Methods that pages may use."""
    request_headers: tuple[FieldName, ...] = REQUEST_HEADERS
    """Header fields that pages may send."""
    response_headers: tuple[FieldName, ...] = RESPONSE_HEADERS
    """Header fields that pages may read."""
    credentials: bool = False
    """True if browsers send cookies and client certificates along; X-Auth-Token needs none of it."""
    max_age: Duration = 600.0
    """How long a browser need not ask again."""

    @property
    def is_on(self) -> bool:
        """True if any page may read anything."""
        return bool(self.origins or self.origin_patterns)

    def findings(self) -> Iterator[Finding]:
        """Refuse credentials for pages of every origin."""
        if ANY in self.origins and (len(self.origins) > 1 or self.origin_patterns):
            yield ("origins",), "* means every origin: remove it, or the others"
        if "ALL" in self.methods:
            yield ("methods",), "browsers know no ALL: name the methods"
        if not self.credentials:
            return
        if ANY in self.origins:
            yield ("credentials",), "does not go with origins: ['*']: any page could act for its visitors"
        for index, pattern in enumerate(self.origin_patterns):
            if fits_everybody(pattern):
                yield (
                    ("origin_patterns", index),
                    "fits every origin, and credentials are on: any page could act for its visitors",
                )


class CrossOriginPolicy:
    """The origins whose pages may send requests, and the fields that pages may read."""

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(settings.origins)
        self._any = ANY in self._origins
        self._patterns = tuple(map(compiled, settings.origin_patterns))
        shared = ((b"access-control-allow-credentials", b"true"),) if settings.credentials else ()
        self._answer = (*shared, *_list(b"access-control-expose-headers", settings.response_headers))
        self._preflight = (
            *shared,
            *_list(b"access-control-allow-methods", settings.methods),
            *_list(b"access-control-allow-headers", settings.request_headers),
            (b"access-control-max-age", b"%d" % settings.max_age),
        )
        self._edits: Memo[bytes | None, HeaderEdits] = Memo()
        self.vary: tuple[Header, ...] = () if self._any else ((b"vary", b"Origin"),)

    def allowed_origin(self, origin: bytes) -> bytes | None:
        """Return what Access-Control-Allow-Origin says to ``origin``; None where it may not read answers."""
        if self._any:
            return b"*"
        text = origin.decode("latin-1")
        if text in self._origins:
            return origin
        # The browser's form alone is held against patterns: one with a line end or a path is no browser's.
        if len(text) > MAX_ORIGIN_LENGTH or not ORIGIN.fullmatch(text):
            return None
        return origin if any(pattern.matches(text) for pattern in self._patterns) else None

    def answer_edits(self, origin: bytes | None) -> HeaderEdits:
        """Return what becomes of the answer to a request of ``origin``; the upstream's own fields go."""
        allowed = self.allowed_origin(origin) if origin is not None else None
        known = self._edits.get(allowed)
        if known is None:
            told = ((ALLOWED_ORIGIN, allowed), *self._answer) if allowed is not None else ()
            known = self._edits.keep(allowed, HeaderEdits(FIELDS, (*self.vary, *told)), len(allowed or b""))
        return known

    def preflight(self, origin: bytes) -> tuple[Header, ...] | None:
        """Return the fields that answer a preflight of ``origin``, or None where it may not ask."""
        allowed = self.allowed_origin(origin)
        return ((ALLOWED_ORIGIN, allowed), *self._preflight) if allowed is not None else None


def _list(name: bytes, members: Sequence[str]) -> tuple[Header, ...]:
    return ((name, ", ".join(members).encode("ascii")),) if members else ()
