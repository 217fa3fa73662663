"""Requests that came before and that memory answers: the shortest way there is.

Each check has prepared its decision, and makes it anew: in this file they are put together. Nothing is
made here that others could hold on to, no Exchange, no scope: a request that is answered at once needs none.
"""

from typing import NamedTuple

from metaproxy.asgi import outcome_of
from metaproxy.cache.stored import Hit
from metaproxy.fast_lane.plans import Remembered
from metaproxy.fast_lane.writing import Refusals, Writer, edited
from metaproxy.outbox import MOST_BYTES
from metaproxy.protocol.faults import Fault
from metaproxy.request_id import new_request_id


class Undecided(NamedTuple):
    """An answer, or a refusal for None, that decisions must let pass which ask something outside."""

    hit: Hit | None


class Repeats:
    """Answers by a plan.

    Args:
        refusals: what refusals have in common.
        writer: writes the answers.
    """

    def __init__(self, refusals: Refusals, writer: Writer) -> None:
        self._refusals = refusals
        self._writer = writer

    def answer(self, plan: Remembered, now: float) -> "bytes | Undecided | None":
        """Return the whole answer to a request that came ``now`` (monotonic seconds).

        None where memory has none, Undecided if something outside must be asked first. Nothing has been
        charged then.
        """
        hit: Hit | None = None
        if plan.refusal is None and plan.read is not None:
            hit = plan.read.hit(now)
            if hit is not None and len(hit.body) > MOST_BYTES:
                return None
        is_answered = hit is not None or plan.refusal is not None
        if is_answered and len(plan.decisions) > 1:
            # A decision that charges must not be followed by one that cannot decide: it would charge again.
            for decision in plan.decisions:
                if not decision.can_decide(now):
                    return Undecided(hit)
        told = b""
        for decision in plan.decisions:
            decided = decision.admit(now) if is_answered else decision.refuse(now)
            if decided is None:
                return Undecided(hit) if is_answered else None
            fault, lines = decided
            told += lines
            if fault is not None:
                return self._refusal(plan, now, fault, told, is_early=decision in plan.early)
        if hit is not None:
            return self._hit(plan, now, hit, told)
        return None if plan.refusal is None else self._refusal(plan, now, plan.refusal, told)

    def _hit(self, plan: Remembered, now: float, hit: Hit, told: bytes) -> bytes:
        request_id, body = new_request_id(), hit.body
        plan.count_look_up()
        plan.end.end(request_id, now, hit.status, len(body), hit.outcome, "", hit.cache_status)
        head = hit.head_with(told, plan.exchange.response_edits)
        return self._writer.whole(head, request_id, body, is_dated=True, keep_alive=True)

    def _refusal(
        self, plan: Remembered, now: float, fault: Fault, told: bytes, *, is_early: bool = False
    ) -> bytes:
        request_id = new_request_id()
        end = plan.early_end if is_early else plan.end
        if not is_early:
            plan.count_look_up()
        start, body = self._refusals.of_kept(fault, plan.scope)
        end.end(request_id, now, fault.status, len(body), outcome_of(fault), fault.reason)
        head = edited(start + told, plan.exchange.response_edits)
        return self._writer.whole(head, request_id, body, is_dated=False, keep_alive=True)
