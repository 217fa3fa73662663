"""Hits answered in the server's protocol class, without an ASGI task.

If every stage can say yes from memory, the stored answer is written at once, from its serialised head;
if one of them can say no from memory, so is the refusal. Anything else takes the line. There is no policy
here: each decision is the stage's own, the same that the line asks. Without this file everything works
as it does with it, only more slowly.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from starlette.types import ASGIApp, Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.stored import Hit
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.fast_lane.kinds import Kinds
from metaproxy.fast_lane.onward import Onward
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.planner import Planner
from metaproxy.fast_lane.plans import Kind, PassedOn, PlanKey
from metaproxy.fast_lane.repeats import Repeats
from metaproxy.fast_lane.writing import Refusals, edited
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.stage import DecidingStage, outcome_of
from metaproxy.filters.trace import Trace
from metaproxy.forward.proxy import Forward
from metaproxy.outbox import MOST_BYTES
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import lines

UNUSUAL = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
"""With one of these a request is more than a plain read: the line takes it."""

READS = frozenset({"GET", "HEAD"})


class FastLane:
    """Answers what can be answered from memory.

    Args:
        trace, cache: the stages of that name.
        permits: the stages from guard to authorize, in their order.
        authenticate: the one of them that knows tokens; None if none are checked.
        charges: the stages between authorize and cache, in their order.
        forward: what follows the cache; None where that is something else.
    """

    def __init__(
        self,
        *,
        trace: Trace,
        permits: Sequence[DecidingStage],
        authenticate: Authenticate | None,
        charges: Sequence[DecidingStage],
        cache: MetadataCache | NoCache,
        forward: Forward | None = None,
    ) -> None:
        self._trace = trace
        self._permits = tuple(permits)
        self._charges = tuple(charges)
        self._cache = cache
        self._kinds = Kinds(trace, self._permits, charges, cache)
        self._planner = Planner(trace, authenticate, cache)
        self._onward = Onward(trace, cache, forward, self._planner)
        self._refusals = Refusals()
        self._via = b"via: " + trace.via + b"\r\nx-compute-request-id: "
        self._repeats = Repeats(self._refusals, self._via, trace.date)

    def answer(self, scope: Scope, *, keep_alive: bool, octets: bytes = b"") -> bytes | Passing | ASGIApp:
        """Return the whole answer to the request of ``scope``, or who will give it.

        What is answered here is charged, counted and logged here. The application goes on with what was
        found out here. ``octets`` is the request as it came, where it came in one piece.
        """
        if scope["method"] not in READS or not UNUSUAL.isdisjoint([name for name, _ in scope["headers"]]):
            return self._trace
        exchange = self._trace.begin(scope)
        concerned: Sequence[DecidingStage] = ()
        request: CacheRequest | None = None
        try:
            if (left := _first_undecided(self._permits, exchange, scope)) is not None:
                return partial(self._trace.run, exchange, left)
            concerned = self._kinds.concerning(scope)
            request = self._cache.read(exchange, scope)
            hit = self._cache.find(request, scope) if request is not None else None
            if hit is not None and len(hit.body) > MOST_BYTES:
                # The line writes it without a copy: clients that do not read share what is stored.
                return partial(self._trace.run, exchange, self._charges[0])
            decided = _all_decide(concerned, exchange, scope)
        except Fault as fault:
            if octets and keep_alive:
                if concerned:
                    self._planner.plan(octets, exchange, scope, concerned, request)
                else:
                    self._planner.plan_refusal(octets, exchange, scope, fault)
            return self._refusal(fault, exchange, scope, keep_alive=keep_alive)
        if decided and hit is not None and not hit.revalidate:
            if octets and keep_alive:
                self._planner.plan(octets, exchange, scope, concerned, request)
            return self._hit(hit, exchange, scope, keep_alive=keep_alive)
        passing: Passing | None = None
        if decided and keep_alive and hit is None:
            if request is not None:
                passing = self._onward.fetch(exchange, scope, concerned, request, octets)
            elif not self._cache.has_route(scope["path"]):
                passing = self._onward.pass_on(exchange, scope, concerned, octets)
        return passing or partial(self._trace.run, exchange, self._charges[0])

    def repeat(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        """Return the answer to a request of which the octets came before, or who gives it, or None.

        That is all of them, or all but the request line. Whatever can have changed since is asked again:
        the token, the rates, what is stored.
        """
        now = self._trace.clock()
        key = self._planner.plans.key(octets, address, scheme)
        plan = self._planner.plans.get(key)
        if plan is None:
            return self._with_known_section(key, octets, now)
        if not self._planner.still_holds(plan, now):
            return None
        answer: bytes | Passing | None
        if isinstance(plan, PassedOn):
            answer = self._pass_again(plan, octets)
        else:
            answer = self._repeats.answer(plan, now)
            if answer is None and plan.read is None:
                self._planner.plans.drop(key)
        if answer is not None and plan.looked_up is not None:
            plan.looked_up.value += 1
        return answer

    def _pass_again(self, plan: PassedOn, octets: bytes) -> bytes | Passing | None:
        exchange = self._trace.begin_again(plan.exchange)
        try:
            return self._onward.pass_again(plan, exchange, octets)
        except Fault as fault:
            return self._refusal(fault, exchange, plan.scope, keep_alive=True)

    def _with_known_section(self, key: PlanKey, octets: bytes, now: float) -> bytes | Passing | None:
        """Answer a read with which only the header section came before; None where that takes a parser."""
        found = self._planner.section_of(octets, key[1], key[2], now)
        if found is None:
            return None
        section, read = found
        exchange = self._trace.begin_again(section.exchange)
        scope = {**section.scope, **read.line, SCOPE_KEY: exchange}
        self._trace.take_prefix_off(exchange, scope)
        kind: Kind | None = None
        answer: bytes | Passing | None
        try:
            kind = self._kinds.of(section, exchange, scope)
            if kind is None:
                return None
            if kind.is_stored:
                answer = self._onward.fetch_target(section, exchange, scope, kind.decisions, octets)
            else:
                answer = self._onward.pass_target(key, section, exchange, scope, kind.decisions, octets)
        except Fault as fault:
            if kind is not None and not kind.is_stored:
                self._planner.plan_by_section(key, section, exchange, scope, kind.decisions)
            answer = self._refusal(fault, exchange, scope, keep_alive=True)
        if answer is not None and section.looked_up is not None:
            section.looked_up.value += 1
        return answer

    def _hit(self, hit: Hit, exchange: Exchange, scope: Scope, *, keep_alive: bool) -> bytes:
        exchange.outcome, exchange.cache_status = hit.outcome, hit.cache_status
        body = b"" if scope["method"] == "HEAD" else hit.body
        self._trace.end(exchange, scope, hit.status, len(body))
        return b"".join(
            (
                hit.head_with(lines(exchange.response_headers), exchange.response_edits),
                self._via,
                exchange.request_id.encode("ascii"),
                b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n",
                body,
            )
        )

    def _refusal(self, fault: Fault, exchange: Exchange, scope: Scope, *, keep_alive: bool) -> bytes:
        exchange.outcome, exchange.reason = outcome_of(fault), fault.reason
        start, body = self._refusals.of(fault, scope)
        self._trace.end(exchange, scope, fault.status, len(body))
        return b"".join(
            (
                edited(start + lines(exchange.response_headers), exchange.response_edits),
                self._via,
                exchange.request_id.encode("ascii"),
                b"\r\ndate: ",
                self._trace.date(),
                b"\r\n\r\n" if keep_alive or fault.close else b"\r\nconnection: close\r\n\r\n",
                body,
            )
        )


def _first_undecided(
    stages: Iterable[DecidingStage], exchange: Exchange, scope: Scope
) -> DecidingStage | None:
    """Let the stages decide one after the other; return the first that cannot, None where all can."""
    return next((stage for stage in stages if not stage.decide(exchange, scope)), None)


def _all_decide(stages: Iterable[DecidingStage], exchange: Exchange, scope: Scope) -> bool:
    """Let the stages decide one after the other; False from the first that cannot."""
    return all(stage.decide(exchange, scope) for stage in stages)
