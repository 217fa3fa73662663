"""Sends reads on that memory has no answer to and that every stage lets through, where a connection is idle.

Each way here answers None where sending takes the line: nothing has been charged then.
"""

from collections.abc import Sequence

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.check import Prepared
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.fast_lane.fetching import Fetching
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.planner import Planner
from metaproxy.fast_lane.plans import PassedOn, PlanKey, Section
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.trace import Trace
from metaproxy.forward.call import Lease
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.errors import TransportError
from metaproxy.forward.proxy import Forward
from metaproxy.protocol.faults import Fault
from metaproxy.verdicts import PASS


class Onward:
    """What follows the cache, for reads that take no task.

    Args:
        trace, cache: the stages of that name.
        forward: sends them; None sends none.
        planner: plans for those that may come again.
    """

    def __init__(
        self, trace: Trace, cache: MetadataCache | NoCache, forward: Forward | None, planner: Planner
    ) -> None:
        self._trace = trace
        self._cache = cache
        self._lease = forward.lease if forward is not None else _no_lease
        self._planner = planner

    def pass_on(self, exchange: Exchange, scope: Scope, octets: bytes) -> Passing | None:
        """Send a read on that every check lets pass."""
        ready = self._ready(exchange, scope)
        if ready is None:
            return None
        lease, sent = ready
        if octets and lease.can_be_repeated:
            self._planner.plan_section(octets, exchange, scope, sent)
        return self._send(lease, sent, exchange, scope)

    def fetch(self, exchange: Exchange, scope: Scope, request: CacheRequest, octets: bytes) -> Passing | None:
        """Ask for what ``request`` asked of the cache in vain; every check lets the read pass."""
        ready = self._ready(exchange, scope) if self._cache.may_lead(request, scope) else None
        if ready is None:
            return None
        lease, sent = ready
        if octets and lease.can_be_repeated:
            self._planner.plan_section(octets, exchange, scope, sent)
        return self._lead(lease, sent, exchange, scope, request)

    def pass_again(self, plan: PassedOn, exchange: Exchange, octets: bytes) -> Passing | Fault | None:
        """Send a read on that was sent on before, or return why a check now refuses it."""
        lease = self._lease_if(plan.decisions, exchange)
        if not isinstance(lease, Lease):
            return lease
        scope = {**plan.scope, SCOPE_KEY: exchange}
        sent = plan.passed.message(scope["method"], plan.request_line, octets, exchange.request_id)
        return self._send(lease, sent, exchange, scope)

    def pass_target(
        self,
        key: PlanKey,
        section: Section,
        exchange: Exchange,
        scope: Scope,
        decisions: Sequence[Prepared],
        octets: bytes,
    ) -> Passing | Fault | None:
        """Send a read on whose header ``section`` was sent on before, or return why it is refused.

        ``key`` is what a plan for ``octets`` is known by.
        """
        lease = self._lease_if(decisions, exchange)
        if not isinstance(lease, Lease):
            return lease
        line = lease.request_line(scope)
        self._planner.plan_by_section(key, section, exchange, scope, decisions, line)
        sent = section.passed.message(scope["method"], line, octets, exchange.request_id)
        return self._send(lease, sent, exchange, scope)

    def fetch_target(
        self,
        section: Section,
        exchange: Exchange,
        scope: Scope,
        decisions: Sequence[Prepared],
        octets: bytes,
    ) -> Passing | Fault | None:
        """Ask for what the cache has not, if it is for the read, or return why the read is refused.

        Its header ``section`` was sent on before.
        """
        scope["headers"] = section.fields.with_token(octets[section.passed.token])
        request = self._cache.read(exchange, scope)
        if request is None or self._cache.find(request, scope) is not None:
            return None
        if not self._cache.may_lead(request, scope):
            return None
        lease = self._lease_if(decisions, exchange)
        if not isinstance(lease, Lease):
            return lease
        line = lease.request_line(scope)
        sent = section.passed.message(scope["method"], line, octets, exchange.request_id)
        return self._lead(lease, sent, exchange, scope, request)

    def _ready(self, exchange: Exchange, scope: Scope) -> tuple[Lease, OutgoingRequest] | None:
        """An idle connection, and what is to be sent on it."""
        lease = self._lease()
        if lease is None:
            return None
        try:
            return lease, lease.message(exchange, scope)
        except TransportError:
            lease.give_back()
            return None

    def _lease_if(self, decisions: Sequence[Prepared], exchange: Exchange) -> Lease | Fault | None:
        """Return an idle connection, if every decision then lets the read pass; or the refusal.

        The decisions are made one after the other, and none of them if no connection is idle.
        """
        lease = self._lease()
        if lease is None:
            return None
        for decision in decisions:
            verdict = decision.decide(exchange)
            if verdict is not PASS:
                lease.give_back()
                return verdict if isinstance(verdict, Fault) else None
        return lease

    def _lead(
        self,
        lease: Lease,
        sent: OutgoingRequest,
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest,
    ) -> Passing | None:
        led = self._cache.lead(exchange, scope, request)
        if led is None:
            lease.give_back()
            return None
        fetching = Fetching(self._trace, exchange, scope, (), led)
        fetching.call = lease.send(sent, led.exchange, led.scope, fetching)
        return fetching

    def _send(self, lease: Lease, sent: OutgoingRequest, exchange: Exchange, scope: Scope) -> Passing:
        self._cache.note_bypass(exchange)
        passing = Passing(self._trace, exchange, scope, ())
        passing.call = lease.send(sent, exchange, scope, passing)
        return passing


def _no_lease() -> Lease | None:
    return None
