"""The Exchange travels along the line with a request: plain data, no I/O.

Stage 1 puts one ``Exchange`` into the ASGI scope. Every stage reads what earlier stages wrote and
adds its own fields; none reaches back. Stages never wrap ``send`` to add a header: they append to
``response_headers``, and the responder, which wraps ``send`` once, writes them.
"""

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metaproxy.protocol.credential_rules import CredentialRules
from metaproxy.protocol.header_edits import HeaderEdits

SCOPE_KEY = "metaproxy.exchange"
EMPTY_QUERY = "metaproxy.empty_query"
"""Stands in the scope of a request whose target ends with ``?``: ASGI has no other place for it, and what an
empty query means is for the origin to say (RFC 3986 §6.2.3)."""

NO_WAITS: dict[str, float] = {}
"""Stands in every Exchange that has not waited; never changed."""

HeaderPairs = tuple[tuple[bytes, bytes], ...]


class Assignment(NamedTuple):
    """A role, and the tenant that it was given for; ``tenant_id`` is "" for a role of all tenants."""

    role: str
    tenant_id: str


def roles_in(assignments: Collection[Assignment], tenants: Collection[str]) -> tuple[str, ...]:
    """Return the roles of ``assignments`` that count in every one of ``tenants``, each once.

    The tenant "" has the roles that were given for all tenants.
    """
    held = set(assignments)
    return tuple(
        role
        for role in dict.fromkeys(role for role, _ in assignments)
        if (role, "") in held or all((role, tenant) in held for tenant in tenants)
    )


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Identity:
    """The user and project of a token, as identity said it. Never holds the token itself.

    ``expires_at`` is seconds since the epoch. ``token_digest`` is a keyed hash that tells tokens
    apart inside this process. ``renderer`` renders the identity headers for the upstream when they are
    needed, because they take twice the memory of what they are rendered from.
    """

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    domain_id: str = ""
    domain_name: str = ""
    system_scope: str = ""
    roles: tuple[str, ...] = ()
    """The roles that count: those given for all tenants, and those of the project that it acts for."""
    assignments: Sequence[Assignment] | None = None
    """Every role of a token that has roles in several tenants; None if ``roles`` are all there are."""
    impersonator_assignments: Sequence[Assignment] = ()
    """The same for the roles of the impersonator."""
    groups: tuple[tuple[str, float], ...] = ()
    """Groups with their quality, best first (Repose's X-PP-Groups)."""
    tenant_ids: tuple[str, ...] = ()
    """Every tenant the token may act for (v2.0: from the token and from roles); () is project_id alone."""
    expires_at: float = 0.0
    audit_ids: tuple[str, ...] = ()
    is_admin_project: bool | None = None
    roles_are_global: bool = False
    """True if the roles of a token without a tenant hold for every tenant (Identity API v2.0)."""
    access_rules: CredentialRules | None = None
    """The only requests that the token is for (its application credential's rules); None for no rules."""
    catalog: bytes | None = field(default=None, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict)
    """Attributes of one provider alone: default_region, contact_id, authenticated_by, impersonator_id, …"""
    token_digest: bytes = field(default=b"", repr=False)
    renderer: "Callable[[Identity], HeaderPairs] | None" = field(default=None, repr=False, compare=False)

    @property
    def header_pairs(self) -> HeaderPairs:
        """The identity headers for the upstream; none of an identity that no cache has kept."""
        return self.renderer(self) if self.renderer is not None else ()

    def roles_in(self, tenants: Collection[str]) -> tuple[str, ...]:
        """Return the roles that count in every one of ``tenants``; "" has those given for all tenants.

        Roles without ``assignments`` have the scope of the token, so they count wherever it may act.
        """
        return self.roles if self.assignments is None else roles_in(self.assignments, tenants)


@dataclass(slots=True)
class StageTime:
    """When a stage began with a request and when it ended, in monotonic seconds; None while it has not."""

    name: str
    begun: float
    ended: float | None = None


class Exchange:
    """One request and its answer, as the line knows them.

    Made for every request, so defaults stand on the class: what a request does not need costs it nothing
    (0.4 us against 1.0 us for a dataclass with slots).

    Args:
        started: monotonic seconds at which the request's head was read.
        fields: any of the fields below.
    """

    client_address: str = ""
    """The client's address, or what a trusted proxy said it is."""
    scheme: str = "http"
    """The scheme that the client used, seen by us or said by a trusted proxy."""
    global_request_id: str = ""
    """The id that another service gave the request in a valid X-OpenStack-Request-ID."""
    route: str = ""
    """The template of the known operation, or "" for a path that none matches."""
    mount: bytes = b""
    """The prefix that was taken off the request's path, as the client wrote it."""
    sent_path: str = ""
    """The path as the client sent it (percent-decoded), if a prefix was taken off."""
    told_by_proxy: HeaderPairs = ()
    """A trusted proxy's fields that can change an answer: part of the key of the cache."""
    identity: Identity | None = None
    """The user who asks."""
    service_identity: Identity | None = None
    """The service that asks on their behalf."""
    place: int = 0
    """The number of checks of the line that were asked about the request."""
    around: Callable[[Any], Any] | None = None
    """Wraps the application that answers, because the body must be counted while it is read."""
    ends: tuple[Callable[[], None], ...] = ()
    """Functions to call when the request has ended."""
    outcome: str = "forwarded"
    """How the request ended, in one word of a fixed set: it becomes a label (``hit``, ``refused``, …)."""
    reason: str = ""
    """Why it ended so, in one word of a fixed set (``rate_exceeded``, ``token_unknown``, …)."""
    cache_status: str = ""
    """The value of Cache-Status."""
    response_edits: HeaderEdits | None = None
    """Edits of the answer's header fields, whoever answers; None for no edits."""
    upstream: str = ""
    """The target that answered."""
    upstream_request_id: str = ""
    """The upstream's id of the request."""
    upstream_version: str = "1.1"
    """The version of HTTP in which the upstream's answer came."""
    waits: dict[str, float] = NO_WAITS
    """Seconds waited for what is outside the process, by stage."""
    waits_begun: dict[str, float] = NO_WAITS
    """When each of these waits began (monotonic seconds)."""
    sampled: bool | None = None
    """True if the request's spans are sent; None if that is decided when it has ended."""
    stages: list[StageTime] | None = None
    """The times of the stages, in the order in which they began; None if they are not recorded."""

    def __init__(self, request_id: str, started: float, **fields: Any) -> None:
        self.request_id = request_id
        self.started = started
        self.response_headers: list[tuple[bytes, bytes]] = []
        if fields:
            self.__dict__.update(fields)

    def again(self, request_id: str, started: float) -> "Exchange":
        """Return the Exchange of another request with the same head, of which only that is known."""
        exchange = Exchange(request_id, started)
        exchange.client_address, exchange.scheme = self.client_address, self.scheme
        exchange.identity, exchange.route = self.identity, self.route
        if self.mount:
            exchange.mount, exchange.sent_path = self.mount, self.sent_path
        if self.told_by_proxy:
            exchange.told_by_proxy = self.told_by_proxy
        if self.response_edits is not None:
            exchange.response_edits = self.response_edits
        return exchange

    def for_flight(self) -> "Exchange":
        """Return a copy for a request made on this one's behalf, which has not waited and answers nobody."""
        flown = Exchange(self.request_id, self.started)
        flown.__dict__.update(self.__dict__)
        flown.response_headers = []
        flown.upstream = ""
        flown.waits = flown.waits_begun = NO_WAITS
        flown.ends, flown.around = (), None
        return flown

    def at_end(self, end: Callable[[], None]) -> None:
        """Have ``end`` called when the request has ended, however it ends."""
        self.ends = (*self.ends, end)

    def end(self) -> None:
        """Call what is to be called when the request has ended."""
        ends, self.ends = self.ends, ()
        for end in ends:
            end()

    def edit_response(self, edits: HeaderEdits) -> None:
        """Edit the answer's header fields with ``edits``, after the edits that earlier stages asked for."""
        self.response_edits = self.response_edits.then(edits) if self.response_edits is not None else edits

    def waited(self, stage: str, seconds: float, begun: float) -> None:
        """Add ``seconds`` spent waiting for ``stage``: ``identity``, ``store``, ``upstream``.

        ``begun`` is the monotonic time at which the wait began; the first one counts.
        """
        if self.waits is NO_WAITS:
            self.waits, self.waits_begun = {stage: seconds}, {stage: begun}
            return
        self.waits[stage] = self.waits.get(stage, 0.0) + seconds
        self.waits_begun.setdefault(stage, begun)


def exchange_of(scope: MutableMapping[str, Any]) -> Exchange:
    """Return the Exchange that stage 1 put into ``scope``; KeyError where there is none."""
    exchange: Exchange = scope[SCOPE_KEY]
    return exchange


class ClientDisconnected(Exception):
    """The client hung up before its answer was complete: there is nobody left to answer."""
