"""A request as the cache sees it, and the key under which its answer is stored.

Facts this file rests on. Whatever can change the origin's answer must be in the key, in Vary, or keep
the request away from the cache; else one client chooses what others get. So the key holds the
partition, the scheme, the host, the exact path and the query, the representation that Accept asks for,
the fields that frameworks take for host, scheme or path, and what else a trusted proxy tells of the
client. A request with a body, with another method hidden in a field, or with credentials that nobody here
has checked goes past the cache. The token is never part of a key: the partition stands for it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

from metaproxy.cache.memory import Key
from metaproxy.exchange import EMPTY_QUERY
from metaproxy.memo import Memo
from metaproxy.protocol import faults, forwarded, headers
from metaproxy.protocol.caching import directives, preferences
from metaproxy.protocol.caching.directives import NOTHING_ASKED, RequestDirectives
from metaproxy.protocol.caching.validation import CONDITIONAL, NOT_FOR_CACHES

FORWARDED = b"forwarded"

KEYED = frozenset(
    {
        FORWARDED,
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-host",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
"""Fields from which frameworks make links and routes: part of the key where a request has them."""

UNCHECKED_CREDENTIALS = frozenset({b"authorization"})
TOKENS = frozenset({b"x-auth-token", b"x-storage-token"})
"""Checked before a request gets here, unless nobody is known at all."""

PAST_THE_CACHE = headers.METHOD_OVERRIDES | NOT_FOR_CACHES

ASKING = (
    PAST_THE_CACHE
    | CONDITIONAL
    | UNCHECKED_CREDENTIALS
    | {b"cache-control", b"pragma", b"range", b"if-range", b"content-length", b"transfer-encoding"}
)
"""Fields that make a request more than a plain read."""

SPECIAL = KEYED | ASKING

_WEIGHTED = re.compile(rb"(?:\*/\*|application/(?:\*|json|xml))(?:;q=0\.[0-9]+)?")
"""One of the API's own media types as a member of a normal Accept, more or less preferred."""

MEMO_ENTRIES = 4096
MEMO_BYTES = 256
"""A longer Accept is read each time: memory is bounded in bytes, not only in entries."""

NormaliseQuery = Callable[[str, bytes], bytes]


@dataclass(slots=True, eq=False)
class CacheRequest:
    """A read, as the cache sees it. ``fields`` has every field once, lines combined."""

    key: Key
    fields: dict[bytes, bytes]
    plain: bool = True
    """True if it asks for nothing but the answer."""
    directives: RequestDirectives = NOTHING_ASKED
    bypass: str = ""
    """The word that says why it goes past the cache; empty where it does not."""

    @property
    def conditional(self) -> bool:
        """True if the client has a copy and asks for news of it."""
        return not self.plain and not self.fields.keys().isdisjoint(CONDITIONAL)

    @property
    def range(self) -> bytes | None:
        """The part of the answer that is asked for, as the Range field says it."""
        return self.fields.get(b"range")


class RequestReader:
    """Reads requests; remembers which representation each Accept asks for.

    Args:
        obey_client: whether Cache-Control of a request counts. Its no-store always does.
        shared: whether the cache has no partitions, so that credentials are a question for storing.
        normalised_query: what the key has in place of a query.
    """

    def __init__(self, *, obey_client: bool, shared: bool, normalised_query: NormaliseQuery) -> None:
        self._obey_client = obey_client
        self._past_the_cache = PAST_THE_CACHE if shared else PAST_THE_CACHE | UNCHECKED_CREDENTIALS
        self._normalised_query = normalised_query
        self._representations: Memo[bytes | None, bytes] = Memo(MEMO_ENTRIES, MEMO_BYTES)

    def read(
        self,
        partition: bytes,
        scheme: str,
        scope: Scope,
        mount: bytes = b"",
        told: headers.Headers = (),
    ) -> CacheRequest:
        """Return what the request in ``scope`` asks of the cache.

        ``mount`` was taken off its path; ``told`` is what a trusted proxy has said of it.
        """
        lines = scope["headers"]
        fields: dict[bytes, bytes] = dict(lines)
        if len(fields) != len(lines):
            fields = combined(lines)
        accept = fields.get(b"accept")
        representation = self._representations.get(accept)
        if representation is None:
            representation = representation_of(accept)
            self._representations.keep(accept, representation, len(accept or b""))
        query = scope["query_string"]
        if query:
            query = self._normalised_query(scope["path"], query)
        path = mount + scope["raw_path"] if mount else scope["raw_path"]
        if EMPTY_QUERY in scope:
            path += b"?"  # RFC 3986 §6.2.3: with a question mark it is another target, even without a query
        key: tuple[object, ...]
        key = partition, scheme, fields.get(b"host"), path, query, representation
        if told:
            key = (*key, *told)
        if SPECIAL.isdisjoint(fields):
            return CacheRequest(key, fields)
        return self._special(key, fields)

    def _special(self, key: tuple[object, ...], fields: dict[bytes, bytes]) -> CacheRequest:
        keyed: list[object] = [(name, fields[name]) for name in sorted((KEYED - {FORWARDED}) & fields.keys())]
        if FORWARDED in fields:
            keyed += _hosts_and_schemes(fields[FORWARDED])
        if ASKING.isdisjoint(fields):
            return CacheRequest((*key, *keyed), fields)
        asked = directives.parse_request(fields.get(b"cache-control", b""), fields.get(b"pragma", b""))
        if not self._obey_client:
            asked = RequestDirectives(no_store=asked.no_store)
        return CacheRequest(
            (*key, *keyed), fields, plain=False, directives=asked, bypass=self._bypass_reason(fields)
        )

    def _bypass_reason(self, fields: dict[bytes, bytes]) -> str:
        if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
            return "body"
        past = self._past_the_cache & fields.keys()
        if not past:
            return ""
        if past & UNCHECKED_CREDENTIALS:
            return "credentials"
        return "condition" if past & NOT_FOR_CACHES else "method_override"


def has_unchecked_credentials(request: CacheRequest) -> bool:
    """Return True if a request to a cache without partitions has credentials: nobody here knows of whom."""
    return not request.fields.keys().isdisjoint(UNCHECKED_CREDENTIALS | TOKENS)


def representation_of(accept: bytes | None) -> bytes:
    """Return what tells apart the answers to different Accept fields: JSON, XML, or the field itself.

    JSON is what the API answers unless XML is preferred. A field that names other media types, has parameters
    or excludes something is taken in its normal spelling: what the origin makes of it is not known here.
    """
    if accept is None:
        return faults.JSON
    spelled = preferences.normalised(b"accept", accept)
    members = spelled.split(b", ") if spelled else ()
    if not members or any(_WEIGHTED.fullmatch(member) is None for member in members):
        return accept if spelled is None else spelled
    return faults.XML if faults.prefers_xml("", accept) else faults.JSON


def combined(lines: headers.Headers) -> dict[bytes, bytes]:
    """Return every field once, its lines joined in order (RFC 9110 §5.3)."""
    fields: dict[bytes, bytes] = {}
    for name, value in lines:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _hosts_and_schemes(field_value: bytes) -> list[object]:
    """Return the part of a Forwarded field (RFC 7239) that can change an answer, without addresses."""
    elements = forwarded.elements(field_value)
    if None in elements:
        return [(FORWARDED, field_value)]
    return [(FORWARDED, pairs.get(b"host"), pairs.get(b"proto")) for pairs in elements if pairs is not None]
