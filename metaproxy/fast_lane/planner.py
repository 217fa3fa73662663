"""Which requests get a plan, and whether a plan still holds."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.check import Check, Prepared
from metaproxy.clock import wall
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.plans import (
    MAX_OCTETS,
    PassedOn,
    Plan,
    PlanKey,
    Plans,
    Remembered,
    Section,
    kept,
    kept_of_section,
)
from metaproxy.fast_lane.reads import Read, read_of
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.trace import Trace
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.repeating import repeated_fields, repeated_section
from metaproxy.identity.token_cache import Known
from metaproxy.identity.validator import Rejected
from metaproxy.identity.validity import Validity
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get
from metaproxy.protocol.identity_headers import SERVICE_TOKEN, STORAGE_TOKEN, TOKEN, TOKEN_FIELDS
from metaproxy.telemetry.metrics import Cell

MAX_SECTIONS = 2048

UNREPEATED = frozenset(
    {
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"traceparent",
        b"tracestate",
        b"x-openstack-request-id",
        SERVICE_TOKEN,
        STORAGE_TOKEN,
    }
)
"""Fields with which a head gets no plan: it names one request, or holds a secret beside its token."""


class Planner:
    """Makes plans for heads that came before and into which nothing went but the head and the token.

    Args:
        trace, cache: the stages of that name.
        checks: the checks of the line.
        authenticate: the one of them that knows tokens; None if none are checked.
    """

    def __init__(
        self,
        trace: Trace,
        checks: Sequence[Check],
        authenticate: Authenticate | None,
        cache: MetadataCache | NoCache,
    ) -> None:
        self._trace = trace
        self._checks = checks
        self._token_place = checks.index(authenticate) if authenticate is not None else 0
        self._validator = authenticate.validator if authenticate is not None else None
        self._cache = cache
        self._wall = self._validator.wall if self._validator is not None else wall
        self._validity = self._validator.validity if self._validator is not None else Validity()
        self.plans: Plans[Remembered | PassedOn] = Plans()
        self.sections: Plans[Section] = Plans(MAX_SECTIONS)

    def still_holds(self, plan: Plan, now: float) -> bool:
        """Say whether the token still has the verdict that ``plan`` was made with, ``now`` (monotonic)."""
        if plan.known is None:
            return True
        return now < self._validity.until and plan.known.is_fresh(now, self._wall())

    def plan_refusal(
        self, octets: bytes, exchange: Exchange, scope: Scope, fault: Fault, *, is_counted: bool
    ) -> None:
        """Perhaps plan for a request that a check has refused with ``fault``.

        A read that ``is_counted`` by a stage between the checks and the cache is never answered from memory.
        """
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        without_token = kept(scope)
        prepared = [check.prepared(exchange, without_token) for check in self._checks]
        place = exchange.place
        if prepared[place - 1] is None:
            known = self._known(scope)
            verdict = known.verdict if known is not None else None
            if isinstance(verdict, Rejected) and verdict.reason == fault.reason:
                self._put(key, exchange, without_token, known, prepared[:place], fault=fault)
        elif None not in prepared[place:]:  # every check has decided whose verdict rests on the head
            request = None if is_counted else self._cache.read(exchange, scope)
            self._plan(key, exchange, scope, without_token, prepared, request)

    def plan(self, octets: bytes, exchange: Exchange, scope: Scope, request: CacheRequest | None) -> None:
        """Perhaps plan for a request that memory answered; ``request`` is what was asked of the cache."""
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        without_token = kept(scope)
        prepared = [check.prepared(exchange, without_token) for check in self._checks]
        self._plan(key, exchange, scope, without_token, prepared, request)

    def _plan(
        self,
        key: PlanKey,
        exchange: Exchange,
        scope: Scope,
        without_token: Scope,
        prepared: Sequence[Prepared | None],
        request: CacheRequest | None,
    ) -> None:
        known = self._known(scope)
        if self._is_of(known, exchange):
            self._put(key, exchange, without_token, known, prepared, request=request)

    def _put(
        self,
        key: PlanKey,
        exchange: Exchange,
        scope: Scope,
        known: Known | None,
        prepared: Sequence[Prepared | None],
        *,
        request: CacheRequest | None = None,
        fault: Fault | None = None,
    ) -> None:
        if request is not None:
            fields = {name: value for name, value in request.fields.items() if name not in TOKEN_FIELDS}
            request = replace(request, fields=fields)
        end = early_end = self._trace.prepared(exchange, scope)
        early = tuple([decision for decision in prepared[: self._token_place] if decision is not None])
        if early:
            stranger = exchange.again("", exchange.started)
            stranger.identity = None
            early_end = self._trace.prepared(stranger, scope)
        self.plans.put(
            key,
            Remembered(
                scope=scope,
                exchange=exchange,
                known=known,
                looked_up=self._looked_up(known),
                decisions=tuple([decision for decision in prepared if decision is not None]),
                early=early,
                early_end=early_end,
                read=self._cache.prepared(request, scope) if request is not None else None,
                refusal=fault,
                end=end,
            ),
        )

    def plan_section(self, octets: bytes, exchange: Exchange, scope: Scope, passed: OutgoingRequest) -> None:
        """Perhaps plan for the header section of a read that was passed on; the upstream got ``passed``."""
        read = read_of(octets)
        if read is None or not _is_worth_a_plan(octets, exchange, scope):
            return
        key = self.sections.key(read.section, exchange.client_address, scope["scheme"])
        if self.sections.is_new(key):
            return
        known = self._known(scope)
        token = get(scope["headers"], TOKEN) or b""
        section = repeated_section(passed, octets, token=token, request_id=exchange.request_id)
        if section is None or not self._is_of(known, exchange):
            return
        if any(check.prepared(exchange, scope) is not None for check in self._checks[: self._token_place]):
            return  # a refusal in front of the token would count as one behind it
        self.sections.put(
            key,
            Section(
                scope=kept_of_section(scope),
                exchange=exchange,
                known=known,
                looked_up=self._looked_up(known),
                passed=section,
                fields=repeated_fields(scope["headers"], TOKEN),
            ),
        )

    def section_of(self, octets: bytes, address: str, scheme: str, now: float) -> tuple[Section, Read] | None:
        """Return the plan for the header section of ``octets``, if there is one that holds ``now``."""
        read = read_of(octets) if len(octets) <= MAX_OCTETS else None
        if read is None:
            return None
        plan = self.sections.get(self.sections.key(read.section, address, scheme))
        return (plan, read) if plan is not None and self.still_holds(plan, now) else None

    def plan_by_section(
        self,
        key: PlanKey,
        section: Section,
        exchange: Exchange,
        scope: Scope,
        decisions: Sequence[Prepared],
        request_line: bytes = b"",
    ) -> None:
        """Perhaps plan for a read that was answered by the plan for its header section.

        ``request_line`` is what the upstream was sent; empty for a read that ``decisions`` have refused.
        """
        if self.plans.is_new(key):
            return
        without_token = kept(scope)
        known, looked_up = section.known, section.looked_up
        plan: Remembered | PassedOn
        if request_line:
            plan = PassedOn(
                scope=without_token,
                exchange=exchange,
                known=known,
                looked_up=looked_up,
                passed=section.passed,
                fields=section.fields,
                request_line=request_line,
                decisions=decisions,
            )
        else:
            end = self._trace.prepared(exchange, without_token)
            plan = Remembered(
                scope=without_token,
                exchange=exchange,
                known=known,
                looked_up=looked_up,
                decisions=decisions,
                end=end,
                early_end=end,
            )
        self.plans.put(key, plan)

    def _key(self, octets: bytes, exchange: Exchange, scope: Scope) -> PlanKey | None:
        """The key of a head that is worth a plan."""
        if not _is_worth_a_plan(octets, exchange, scope):
            return None
        key = self.plans.key(octets, exchange.client_address, scope["scheme"])
        return None if self.plans.is_new(key) else key

    def _is_of(self, known: Known | None, exchange: Exchange) -> bool:
        """Say whether what is ``known`` of the token is all that is known of who sent the request."""
        if self._validator is None:
            return True
        return known is not None and known.verdict is exchange.identity

    def _known(self, scope: Scope) -> Known | None:
        token = get(scope["headers"], TOKEN)
        return self._validator.peek(token) if self._validator is not None and token else None

    def _looked_up(self, known: Known | None) -> Cell | None:
        return self._validator.found(known.verdict) if self._validator is not None and known else None


def _is_worth_a_plan(octets: bytes, exchange: Exchange, scope: Scope) -> bool:
    client = scope["client"]
    if len(octets) > MAX_OCTETS or exchange.client_address != (client[0] if client else ""):
        return False
    return UNREPEATED.isdisjoint([name for name, _ in scope["headers"]])
