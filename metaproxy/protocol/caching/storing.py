"""Which answers may be stored (RFC 9111 §3).

This cache is shared and stores answers to GET. Storing what is not understood is refused: answers that vary
on everything, answers to a request with a body. A part (206) is judged as a 200 would be, and stored as a
part. A partition of the cache that belongs to one authenticated consumer is still a shared cache here:
``private`` and Set-Cookie keep their meaning, because one project has many users.
"""

from collections.abc import Collection
from dataclasses import dataclass

from metaproxy.protocol import headers
from metaproxy.protocol.caching import validators
from metaproxy.protocol.caching.directives import RequestDirectives, ResponseDirectives

CACHEABLE_BY_DEFAULT = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 §15.1, without 206: a part is judged as the whole would be."""

UNDERSTOOD = CACHEABLE_BY_DEFAULT | {
    302,
    303,
    307,
    400,
    401,
    403,
    406,
    409,
    413,
    415,
    421,
    422,
    429,
    500,
    503,
}
"""Statuses whose caching this file knows, for must-understand (§5.2.2.3)."""

NEVER_STORED = frozenset({206, 304, 416})
"""Parts and answers to conditions: they describe a stored answer, they are none."""

ERRORS = range(400, 600)

NOT_STORED_FIELDS = frozenset(
    {
        b"age",
        b"cache-status",
        b"content-length",
        b"set-cookie",
        b"set-cookie2",
        b"proxy-authentication-info",
        b"authentication-info",
        b"x-compute-request-id",
        b"x-openstack-request-id",
    }
)
"""Beside the hop-by-hop fields (§3.1): what is true of one exchange only. Written anew for each answer."""


WRITTEN_ON_THE_WAY = frozenset(
    {
        b"expect",
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-openstack-request-id",
        b"traceparent",
        b"tracestate",
    }
)
"""Fields that the upstream gets otherwise than the client sent them, or that are another for each request.

An answer that varies on one of them cannot be selected by what a client sends (§4.1), so it is not stored.
Host, X-Forwarded-Host and X-Forwarded-Proto are written on the way, too, but from what is in the key.
"""


@dataclass(frozen=True, slots=True)
class Storable:
    """The answer may be stored, fresh for ``lifetime`` seconds."""

    lifetime: float


@dataclass(frozen=True, slots=True)
class NotStorable:
    """The answer must not be stored; ``reason`` is one word from a fixed set."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The terms of the operator, for what the origin may be silent about. Numbers are seconds.

    ``ttl`` is the lifetime of an answer without one of its own, ``negative_ttl`` that of an error.
    ``respect_origin`` off: the ttl goes before the origin's lifetime; no-store and private still hold.
    """

    ttl: float = 0.0
    negative_ttl: float = 0.0
    respect_origin: bool = True

    def heuristic_lifetime(self, status: int) -> float:
        """Return the seconds for which an answer of ``status`` is fresh where its origin is silent."""
        return self.negative_ttl if status in ERRORS else self.ttl


def storing(
    *,
    status: int,
    fields: headers.Headers,
    asked: RequestDirectives,
    said: ResponseDirectives,
    explicit_lifetime: float | None,
    unauthenticated_credentials: bool,
    cookie: bool = False,
    policy: Policy,
) -> Storable | NotStorable:
    """Decide whether the answer to a GET may be stored.

    ``unauthenticated_credentials``: the request carried credentials that this proxy has not checked
    itself, so that who may see the answer is known to the origin alone (§3.5). ``cookie``: that it carried
    one, in which such origins keep their sessions: a lifetime is then not guessed (§4.2.2).
    """
    refusal = _refusal(status, fields, asked, said)
    if refusal:
        return NotStorable(refusal)
    if unauthenticated_credentials and not allows_sharing(said):
        return NotStorable("credentials")
    if explicit_lifetime is not None and policy.respect_origin:
        return Storable(explicit_lifetime)
    if not said.public and (sign := _sign_of_one(fields, cookie=cookie)):
        # Nobody said that this is for all, and it looks made for one.
        return NotStorable(sign)
    lifetime = policy.heuristic_lifetime(status)
    if status not in CACHEABLE_BY_DEFAULT and not said.public:  # §4.2.2
        return NotStorable("status")
    # Without a lifetime of anybody's it is not stored, not even for the time after its freshness.
    return Storable(lifetime) if lifetime > 0 else NotStorable("no_lifetime")


def allows_sharing(said: ResponseDirectives) -> bool:
    """Return True if the answer to a request with credentials may serve others (§3.5)."""
    return said.public or said.must_revalidate or said.s_maxage is not None


def stored_fields(fields: headers.Headers, said: ResponseDirectives) -> list[headers.Header]:
    """Return the fields to store: without hop-by-hop ones (§3.1) and those that qualified directives name."""
    left_out: Collection[bytes] = NOT_STORED_FIELDS
    if said.private_fields or said.no_cache_fields:
        left_out = NOT_STORED_FIELDS | said.private_fields | said.no_cache_fields
    kept = headers.end_to_end(validators.without_invalid(fields))
    return [field for field in kept if field[0] not in left_out]


def _refusal(status: int, fields: headers.Headers, asked: RequestDirectives, said: ResponseDirectives) -> str:
    if status < 200 or status in NEVER_STORED:
        return "status"
    if said.must_understand and status not in UNDERSTOOD:
        return "not_understood"
    if asked.no_store or (said.no_store and not said.must_understand):
        return "no_store"
    if said.private:
        return "private"
    if b"*" in headers.list_members(headers.combined(fields, b"vary")):
        return "vary"
    return ""


def _sign_of_one(fields: headers.Headers, *, cookie: bool) -> str:
    """Return what tells that an answer was made for one client, or ""."""
    if any(name in (b"set-cookie", b"set-cookie2") for name, _ in fields):
        return "set_cookie"
    return "cookie" if cookie else ""
