"""Plans: the findings about a request, for when the same octets come again.

Facts this file rests on. Clients repeat themselves to the octet: the same head, from the same address,
differs in nothing that a parser, the guard, the authorization of one identity or a cache key could
see. So what depends on those alone need not be found out again. All that can have changed is asked each time:
whether the token still stands for that identity, whether the rates have room, what is stored.

They also read one thing after another with the same header section: then all but what rests on method and
target is known, and a plan for the section says what.

A plan is kept under a keyed digest of the octets, so that the token in them is not kept. A head that
came once may never come again (many carry an id of their own): only the second time makes a plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from starlette.types import Scope

from metaproxy.cache.lookup import PreparedRead
from metaproxy.check import Prepared, TargetCheck
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.writing import ANSWER_KIND, answer_kind
from metaproxy.filters.trace import PreparedEnd
from metaproxy.forward.repeating import RepeatedFields, RepeatedSection
from metaproxy.identity.digests import keyed_digest
from metaproxy.identity.token_cache import Known
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get
from metaproxy.telemetry.metrics import Cell

MAX_PLANS = 16384
MAX_SEEN = 16384
MAX_OCTETS = 2048
"""Longer heads are read each time: memory is bounded in bytes, not only in entries."""

OF_CONNECTION = ("type", "scheme", "client", "http_version")
OF_REQUEST_LINE = ("method", "path", "raw_path", "query_string")
"""The keys of a scope that the stages after authorize read, beside fields of the head."""

KEPT_FIELDS = (b"accept", b"host")
"""Fields that decide how a fault is told, and which links of an answer are the API's own."""

PlanKey = tuple[bytes, str, str]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plan:
    """The findings about a request whose head, or whose header section, was read before.

    ``scope`` has what the stages after authorize look at, no token; for a header section it is without
    method and target. ``exchange`` is that of the request which made the plan: who asked, from where, for
    what. ``known`` is what the token cache knows of the token, and ``looked_up`` counts that it was asked;
    both None where no tokens are checked.
    """

    scope: Scope
    exchange: Exchange
    known: Known | None
    looked_up: Cell | None

    def count_look_up(self) -> None:
        """Count that the token cache was asked for the token."""
        if self.looked_up is not None:
            self.looked_up.value += 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Remembered(Plan):
    """A request that memory answers: after ``decisions``, with the ``refusal`` that its token means, or else
    from the cache.

    ``read`` is what is asked of the cache, None if that is not concerned; ``end`` is how it ends. ``early``
    are those of the decisions that come before the token is looked up, ``early_end`` is how it ends if one
    of them refuses it.
    """

    end: PreparedEnd
    refusal: Fault | None = None
    decisions: Sequence[Prepared] = ()
    early: Sequence[Prepared] = ()
    early_end: PreparedEnd
    read: PreparedRead | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PassedOn(Plan):
    """A request that is passed on: ``passed`` is what the upstream gets after the ``request_line``.

    ``fields`` is what the stages know the header section by.
    """

    passed: RepeatedSection
    fields: RepeatedFields
    request_line: bytes
    decisions: Sequence[Prepared]


KindKey = tuple[str, str]
"""Method, and kind of path."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Kind:
    """The findings about all reads of one kind with one header section.

    ``route`` names it in the log. ``is_stored`` says whether answers may be; ``checks`` are what is left to
    ask of each path, ``decisions`` what is then decided.
    """

    route: str
    is_stored: bool
    checks: Sequence[TargetCheck]
    decisions: Sequence[Prepared]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Section(Plan):
    """A header section that comes with one target after the other.

    ``passed`` is what the upstream gets after the request line, ``fields`` what the stages know it by.
    ``kinds`` are those that have come.
    """

    passed: RepeatedSection
    fields: RepeatedFields
    kinds: dict[KindKey, Kind] = field(default_factory=dict)


def kept(scope: Scope) -> Scope:
    """Return what a plan keeps of ``scope``."""
    remembered = {**kept_of_section(scope), **{name: scope[name] for name in OF_REQUEST_LINE}}
    remembered[ANSWER_KIND] = answer_kind(remembered)
    return remembered


def kept_of_section(scope: Scope) -> Scope:
    """Return what a plan keeps of ``scope`` for a header section."""
    fields = [(name, get(scope["headers"], name)) for name in KEPT_FIELDS]
    remembered = {name: scope[name] for name in OF_CONNECTION}
    remembered["extensions"] = scope.get("extensions")
    remembered["headers"] = [(name, value) for name, value in fields if value is not None]
    return remembered


AnyPlan = TypeVar("AnyPlan", bound=Plan)


class Plans(Generic[AnyPlan]):
    """Plans by the octets that they are for; when there are too many, the oldest goes."""

    def __init__(self, max_plans: int = MAX_PLANS) -> None:
        self._digest = keyed_digest(b"plan")
        self._max_plans = max_plans
        self._plans: dict[PlanKey, AnyPlan] = {}
        self._seen: set[PlanKey] = set()

    def __len__(self) -> int:
        return len(self._plans)

    def key(self, octets: bytes, address: str, scheme: str) -> PlanKey:
        """Return the name of what came as ``octets`` from ``address``."""
        return self._digest(octets), address, scheme

    def get(self, key: PlanKey) -> AnyPlan | None:
        """Return the plan for what has that name, if there is one."""
        return self._plans.get(key)

    def is_new(self, key: PlanKey) -> bool:
        """Say whether something comes for the first time, as far as is remembered."""
        if key in self._seen:
            return False
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(key)
        return True

    def put(self, key: PlanKey, plan: AnyPlan) -> None:
        """Keep a plan."""
        if len(self._plans) >= self._max_plans:
            del self._plans[next(iter(self._plans))]
        self._plans[key] = plan

    def drop(self, key: PlanKey) -> None:
        """Keep a plan no longer."""
        self._plans.pop(key, None)
