"""When a stored answer may be reused (RFC 9111 §4, §4.1, §4.2.4; RFC 5861).

Facts this file rests on. An answer is fresh while its lifetime is greater than its age (§4.2). The directives
of a client can only make a cache stricter, save max-stale (§5.2.1). A stale answer may be sent
if the client (max-stale), the origin (RFC 5861) or the operator's contract with it allows that, and
never against must-revalidate, proxy-revalidate, s-maxage or no-cache (§4.2.4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from metaproxy.protocol import headers
from metaproxy.protocol.caching import preferences
from metaproxy.protocol.caching.directives import RequestDirectives, ResponseDirectives
from metaproxy.protocol.identity_headers import TOKEN_FIELDS

VaryValues = tuple[tuple[bytes, bytes | None], ...]
"""The field names that Vary lists, and what the request had there that the answer was made for."""

FAILURES = frozenset({500, 502, 503, 504})
"""Answers by which an origin fails, so that a stale one may be sent instead (RFC 5861 §4)."""

SECRETS = TOKEN_FIELDS | {b"authorization", b"cookie", b"proxy-authorization"}
"""Fields of which a digest is kept, because what is stored may leave this process."""

MEMO_BYTES = 256
"""Longer fields are neither remembered nor put in order: memory and time are bounded in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms an answer is stored. Numbers are seconds."""

    lifetime: float
    always_validate: bool = False
    """no-cache: not to be reused without asking the origin."""
    never_stale: bool = False
    """must-revalidate and its kin: not to be reused once stale."""
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Fresh:
    """The answer may be sent; it stays fresh for ``ttl`` seconds."""

    ttl: float


@dataclass(frozen=True, slots=True)
class Stale:
    """The answer may be sent although it is stale; ``revalidate``: and be validated in the background."""

    ttl: float
    revalidate: bool


@dataclass(frozen=True, slots=True)
class MustValidate:
    """The origin must be asked. ``reason`` is RFC 9211's word: ``stale`` or ``request``."""

    reason: str


Verdict = Fresh | Stale | MustValidate


@lru_cache(maxsize=512)
def terms(
    lifetime: float,
    said: ResponseDirectives,
    *,
    stale_while_revalidate: float,
    stale_if_error: float,
    respect_origin: bool = True,
) -> Terms:
    """Return the terms of an answer; the seconds given are the operator's, the origin's go before."""
    if not respect_origin:
        said = ResponseDirectives()
    by_origin = said.stale_while_revalidate, said.stale_if_error
    return Terms(
        lifetime=lifetime,
        always_validate=said.no_cache,
        # §5.2.2.10: s-maxage also means proxy-revalidate.
        never_stale=said.must_revalidate or said.proxy_revalidate or said.s_maxage is not None,
        stale_while_revalidate=stale_while_revalidate if by_origin[0] is None else by_origin[0],
        stale_if_error=stale_if_error if by_origin[1] is None else by_origin[1],
    )


def assess(stored: Terms, age: float, asked: RequestDirectives) -> Verdict:
    """Decide whether an answer of ``age`` seconds, stored on these terms, may be sent as it is."""
    ttl = stored.lifetime - age
    if stored.always_validate:
        return MustValidate("stale")
    if asked.no_cache:
        return MustValidate("request")
    if asked.max_age is not None and age > asked.max_age:  # §5.2.1.1
        return MustValidate("request")
    if ttl > 0:
        return Fresh(ttl) if ttl >= asked.min_fresh else MustValidate("request")
    return _assess_stale(stored, ttl, asked)


def usable_on_error(stored: Terms, age: float, asked: RequestDirectives) -> bool:
    """Return True if a stale answer may be sent because the origin fails (RFC 5861 §4)."""
    if stored.always_validate or stored.never_stale or asked.no_cache:
        return False
    if asked.max_age is not None and age > asked.max_age:
        return False
    window = max(stored.stale_if_error, asked.stale_if_error or 0.0)
    return age - stored.lifetime < window


def useful_for(stored: Terms) -> float:
    """Return the seconds after which nothing but a validation could still use the answer."""
    beyond = 0.0 if stored.never_stale else max(stored.stale_while_revalidate, stored.stale_if_error)
    return stored.lifetime + beyond


def vary_names(fields: headers.Headers) -> tuple[bytes, ...]:
    """Return the request fields that an answer varies on, in lower case, each once, sorted."""
    # An encoded answer was chosen by Accept-Encoding, even where its origin forgets to say so.
    implied = (b"accept-encoding",) if headers.get(fields, b"content-encoding") else ()
    return names_in(headers.combined(fields, b"vary"), implied)


def names_in(vary: bytes, implied: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    """Return the names that the field value ``vary`` lists and those that are ``implied``, as above."""
    return (_named if len(vary) <= MEMO_BYTES else _named.__wrapped__)(vary, implied)


@lru_cache(maxsize=512)
def _named(vary: bytes, implied: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted({*implied, *(name.lower() for name in headers.list_members(vary))}))


def vary_values(names: Iterable[bytes], request: headers.Headers) -> VaryValues:
    """Return what a request has in the fields ``names`` (§4.1)."""
    values = dict(request)
    if len(values) == len(request):
        return tuple([(name, _vary_value(name, values.get(name))) for name in names])
    return tuple([(name, vary_value(request, name)) for name in names])


def selects(vary: VaryValues, request: Mapping[bytes, bytes]) -> bool:
    """Return True if a request's fields (lines combined) select an answer stored with ``vary`` (§4.1)."""
    for name, value in vary:
        asked = request.get(name)
        # Most requests match byte for byte; only the others are put in order first.
        if asked != value and (asked is None or _compared(name, asked) != value):
            return False
    return True


def vary_value(request: headers.Headers, name: bytes) -> bytes | None:
    """Return one field of a request for comparison: lines combined, in a spelling that equal values share.

    Of a secret it is a digest: replicas must be able to compare it, so it has no key.
    """
    values = headers.get_all(request, name)
    return _vary_value(name, b", ".join(values) if values else None)


def _vary_value(name: bytes, combined: bytes | None) -> bytes | None:
    return None if combined is None else _compared(name, combined.strip(b" \t"))


def _compared(name: bytes, value: bytes) -> bytes:
    """Return the whole ``value`` of a field as it is compared; a long one is compared as it came."""
    if name in SECRETS:
        return b"sha256:" + sha256(value).hexdigest().encode()
    return _spelled(name, value) if len(value) <= MEMO_BYTES else value


@lru_cache(maxsize=1024)
def _spelled(name: bytes, value: bytes) -> bytes:
    preferred = preferences.normalised(name, value) if name in preferences.NAMES else None
    return _spaced(value) if preferred is None else preferred


def _spaced(value: bytes) -> bytes:
    """Return ``value`` without blanks around commas, unless commas may be a part of a string or a comment."""
    if b"," not in value or b'"' in value or b"(" in value:
        return value
    return b",".join([part.strip(b" \t") for part in value.split(b",")])


def _assess_stale(stored: Terms, ttl: float, asked: RequestDirectives) -> Stale | MustValidate:
    """§4.2.4: which stale answers may be sent all the same."""
    if stored.never_stale or asked.min_fresh:
        return MustValidate("stale")
    if asked.max_stale is not None and -ttl <= asked.max_stale:
        return Stale(ttl, revalidate=False)
    if -ttl < stored.stale_while_revalidate:
        return Stale(ttl, revalidate=True)
    return MustValidate("stale")
