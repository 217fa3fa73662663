"""Requests answered in the server's protocol class, without an ASGI task.

The line's checks are asked here, synchronously. If one of them refuses, the refusal is written at once; if
all let the request pass and the cache has the answer, so is that. A request that must wait, or that an
application must answer, goes on in a task from the place in the line where it is. There is no policy here,
and no order: both are the line's.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from starlette.types import ASGIApp, Scope

from metaproxy.asgi import outcome_of
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.stored import Hit
from metaproxy.check import Prepared, decide_again
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.fast_lane.asking import Asking, Settle
from metaproxy.fast_lane.fetching import Raising
from metaproxy.fast_lane.kinds import Counted, Kinds
from metaproxy.fast_lane.onward import Onward
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.planner import Planner
from metaproxy.fast_lane.plans import PassedOn, PlanKey, Remembered, Section
from metaproxy.fast_lane.repeats import Repeats, Undecided
from metaproxy.fast_lane.writing import Refusals, Writer, edited
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.trace import Trace
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.proxy import Forward
from metaproxy.line import Line
from metaproxy.outbox import MOST_BYTES
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import lines
from metaproxy.tasks import TaskSet
from metaproxy.verdicts import PASS, Settled, Verdict, Wait

UNUSUAL = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
"""With one of these a request is more than a plain read: the line takes it."""

READS = frozenset({"GET", "HEAD"})

logger = structlog.get_logger("metaproxy")


class FastLane:
    """Answers what can be answered from memory.

    Args:
        trace, cache: the stages of that name.
        line: the checks and the origin.
        authenticate: the check that knows tokens; None if none are checked.
        counted: the stages of the origin in front of the cache.
        forward: what follows the cache; None if that is something else.
    """

    def __init__(
        self,
        *,
        trace: Trace,
        line: Line,
        authenticate: Authenticate | None,
        counted: Sequence[Counted] = (),
        cache: MetadataCache | NoCache,
        forward: Forward | None = None,
    ) -> None:
        self._trace = trace
        self._line = line
        self._cache = cache
        self._kinds = Kinds(trace, line.checks, counted, cache)
        self._planner = Planner(trace, line.checks, authenticate, cache)
        self._refusals = Refusals()
        self._writer = Writer(trace.signature, trace.date)
        self._onward = Onward(trace, cache, forward, self._planner, self._writer)
        self._repeats = Repeats(self._refusals, self._writer)
        self._waits = TaskSet()

    def answer(self, scope: Scope, *, keep_alive: bool, octets: bytes = b"") -> bytes | Passing | ASGIApp:
        """Return the whole answer to the request of ``scope``, or what will give it.

        A request that is answered here is charged, counted and logged here. The application goes on with
        what was found out here. ``octets`` is the request as it came, if it came in one piece.
        """
        if scope["method"] not in READS or not UNUSUAL.isdisjoint([name for name, _ in scope["headers"]]):
            return self._trace
        exchange = self._trace.begin(scope)
        if exchange.sampled:  # its spans are those of the line, whole
            return partial(self._trace.run, exchange, self._line)
        try:
            return self._answered(exchange, scope, octets, keep_alive=keep_alive)
        except Exception as error:  # noqa: BLE001 - the line logs it, tells the client, and ends the request
            return partial(self._trace.run, exchange, Raising(error))

    def _answered(
        self, exchange: Exchange, scope: Scope, octets: bytes, *, keep_alive: bool
    ) -> bytes | Passing | ASGIApp:
        """Ask the checks, and return the answer or what will give it."""
        verdict = self._line.go_on(exchange, scope)
        if isinstance(verdict, Wait):
            go_on = partial(self._line.go_on, exchange, scope)
            settle = partial(self._settled, exchange, scope, octets)
            return self._asking(exchange, scope, verdict, go_on, settle)
        return self._settled(exchange, scope, octets, verdict, keep_alive=keep_alive)

    def _settled(
        self, exchange: Exchange, scope: Scope, octets: bytes, verdict: Settled, *, keep_alive: bool
    ) -> bytes | Passing | ASGIApp:
        """Do what the checks have come to."""
        if verdict is PASS:
            return self._from_memory(exchange, scope, octets, keep_alive=keep_alive)
        if isinstance(verdict, Fault):
            if octets and keep_alive:
                is_counted = self._kinds.concern_counted(scope)
                self._planner.plan_refusal(octets, exchange, scope, verdict, is_counted=is_counted)
            return self._refusal(verdict, exchange, scope, keep_alive=keep_alive)
        return partial(self._trace.run, exchange, partial(self._line.resume, verdict, exchange))

    def _asking(
        self, exchange: Exchange, scope: Scope, wait: Wait, go_on: Callable[[], Verdict], settle: Settle
    ) -> Asking:
        asking = Asking(
            self._trace, self._writer, exchange, scope, go_on=go_on, settle=settle, tasks=self._waits
        )
        asking.begin(wait)
        return asking

    def _from_memory(
        self, exchange: Exchange, scope: Scope, octets: bytes, *, keep_alive: bool
    ) -> bytes | Passing | ASGIApp:
        """Answer a request that every check lets pass, or return what will answer it."""
        passing: Passing | None = None
        if not self._kinds.concern_counted(scope):
            request = self._cache.read(exchange, scope)
            hit = self._cache.find(request, scope) if request is not None else None
            # The line writes a large body without a copy: clients that do not read share what is stored.
            if hit is not None and not hit.revalidate and len(hit.body) <= MOST_BYTES:
                if octets and keep_alive:
                    self._planner.plan(octets, exchange, scope, request)
                return self._hit(hit, exchange, scope, keep_alive=keep_alive)
            if hit is None and keep_alive:
                passing = self._passing(exchange, scope, request, octets)
        return passing or partial(self._trace.run, exchange, self._line.app)

    def _passing(
        self, exchange: Exchange, scope: Scope, request: CacheRequest | None, octets: bytes
    ) -> Passing | None:
        if request is None and self._cache.has_route(scope["path"]):
            return None
        return self._onward.send(exchange, scope, request, octets)

    def repeat(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        """Return the answer to a request of which the octets came before, or who gives it, or None.

        That is all of them, or all but the request line. Whatever can have changed since is asked again:
        the token, the rates, what is stored.
        """
        try:
            return self._repeated(octets, address, scheme)
        except Exception:
            logger.exception("a remembered request failed; it is read anew")
            return None

    def _repeated(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        now = self._trace.clock()
        key = self._planner.plans.key(octets, address, scheme)
        plan = self._planner.plans.get(key)
        if plan is None:
            return self._with_known_section(key, octets, now)
        if not self._planner.still_holds(plan, now):
            return None
        if isinstance(plan, PassedOn):
            exchange = self._trace.begin_again(plan.exchange)
            scope = {**plan.scope, SCOPE_KEY: exchange}
            message = plan.passed.message(scope["method"], plan.request_line, octets, exchange.request_id)
            return self._sent_again(plan, plan.decisions, message, octets, exchange, scope)
        answer = self._repeats.answer(plan, now)
        if isinstance(answer, Undecided):
            return self._decided(plan, answer.hit)
        if answer is None and plan.read is None:
            self._planner.plans.drop(key)
        return answer

    def _decided(self, plan: Remembered, hit: Hit | None) -> bytes | Passing:
        """Answer with ``hit`` if all decisions of ``plan`` let pass, one of which must ask outside."""
        exchange = self._trace.begin_again(plan.exchange)
        scope = {**plan.scope, SCOPE_KEY: exchange}
        go_on = partial(decide_again, plan.decisions, exchange)
        settle = partial(self._settled_again, plan, hit, exchange, scope)
        verdict = go_on()
        if isinstance(verdict, Wait):
            return self._asking(exchange, scope, verdict, go_on, settle)
        return settle(verdict, keep_alive=True)

    def _settled_again(
        self,
        plan: Remembered,
        hit: Hit | None,
        exchange: Exchange,
        scope: Scope,
        verdict: Settled,
        *,
        keep_alive: bool,
    ) -> bytes:
        """Do what the decisions of ``plan`` have come to."""
        fault = verdict if isinstance(verdict, Fault) else plan.refusal
        if fault is verdict and exchange.place <= len(plan.early):
            exchange.identity = None  # the token was not looked up
        else:
            plan.count_look_up()
        if fault is not None:
            return self._refusal(fault, exchange, scope, keep_alive=keep_alive)
        if hit is None:
            raise ValueError("a plan that has no answer")
        return self._hit(hit, exchange, scope, keep_alive=keep_alive)

    def _with_known_section(self, key: PlanKey, octets: bytes, now: float) -> bytes | Passing | None:
        """Answer a read with which only the header section came before; None if that takes a parser."""
        found = self._planner.section_of(octets, key[1], key[2], now)
        if found is None:
            return None
        section, read = found
        exchange = self._trace.begin_again(section.exchange)
        scope = {**section.scope, **read.line, SCOPE_KEY: exchange}
        self._trace.take_prefix_off(exchange, scope)
        kind = self._kinds.of(section, exchange, scope)
        if kind is None:
            return None
        request: CacheRequest | None = None
        if kind.is_stored:
            scope["headers"] = section.fields.with_token(octets[section.passed.token])
            request = self._cache.read(exchange, scope)
            if request is None or self._cache.find(request, scope) is not None:
                return None
        request_line = self._onward.request_line(scope)
        message = section.passed.message(scope["method"], request_line, octets, exchange.request_id)
        answer = self._sent_again(section, kind.decisions, message, octets, exchange, scope, request)
        if answer is not None and request is None:
            sent_line = request_line if isinstance(answer, Passing) else b""
            self._planner.plan_by_section(key, section, exchange, scope, kind.decisions, sent_line)
        return answer

    def _sent_again(
        self,
        plan: Section | PassedOn,
        decisions: Sequence[Prepared],
        message: OutgoingRequest,
        octets: bytes,
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest | None = None,
    ) -> bytes | Passing | None:
        """Send ``message``, or do what the ``decisions`` come to; None if the request must be read anew."""
        sent = self._onward.send_again(message, decisions, exchange, scope, request)
        if sent is None:
            exchange.end()  # another Exchange is made for the same request
            return None
        plan.count_look_up()
        if isinstance(sent, Fault):
            return self._refusal(sent, exchange, scope, keep_alive=True)
        if isinstance(sent, Passing):
            return sent
        if not isinstance(sent, Wait):
            raise TypeError("no decision of a head that came before answers it")
        scope["headers"] = plan.fields.with_token(octets[plan.passed.token])  # the line may have to go on
        go_on = partial(decide_again, decisions, exchange)
        settle = partial(self._sent_after_all, message, exchange, scope, request)
        return self._asking(exchange, scope, sent, go_on, settle)

    def _sent_after_all(
        self,
        message: OutgoingRequest,
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest | None,
        verdict: Settled,
        *,
        keep_alive: bool,
    ) -> bytes | Passing | ASGIApp:
        """Send ``message`` if the decisions that waited let it pass."""
        if isinstance(verdict, Fault):
            return self._refusal(verdict, exchange, scope, keep_alive=keep_alive)
        sent = self._onward.send_again(message, (), exchange, scope, request) if keep_alive else None
        return sent if isinstance(sent, Passing) else partial(self._trace.run, exchange, self._line.app)

    def _hit(self, hit: Hit, exchange: Exchange, scope: Scope, *, keep_alive: bool) -> bytes:
        exchange.outcome, exchange.cache_status = hit.outcome, hit.cache_status
        body = b"" if scope["method"] == "HEAD" else hit.body
        self._trace.end(exchange, scope, hit.status, len(body))
        head = hit.head_with(lines(exchange.response_headers), exchange.response_edits)
        return self._writer.whole(head, exchange.request_id, body, is_dated=True, keep_alive=keep_alive)

    def _refusal(self, fault: Fault, exchange: Exchange, scope: Scope, *, keep_alive: bool) -> bytes:
        exchange.outcome, exchange.reason = outcome_of(fault), fault.reason
        start, body = self._refusals.of(fault, scope)
        self._trace.end(exchange, scope, fault.status, len(body))
        head = edited(start + lines(exchange.response_headers), exchange.response_edits)
        keep_alive = keep_alive or fault.close  # it says so itself then
        return self._writer.whole(head, exchange.request_id, body, is_dated=False, keep_alive=keep_alive)
