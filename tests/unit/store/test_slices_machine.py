"""Several replicas with clocks of their own, and messages that are late or lost, against an exact count.

``oracle`` says what must hold. Nothing here knows how slices are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.store.counters import Charge, Exchanged, Taken
from metaproxy.store.leases import LeasedMeter
from metaproxy.store.ledger import Ledger
from metaproxy.store.slices import Question, Report, Slices
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge
from tests.unit.store.oracle import Grant, Oracle, Seen, Witness

MOST_REPLICAS = 5
CHOICES = st.sampled_from([(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)])


class Replica:
    """Slices, and a clock that runs a little wrong."""

    def __init__(self, clock: FakeClock, speed: float, offset: float) -> None:
        self.slices = Slices()
        self.meters: dict[str, LeasedMeter] = {}
        self.witness = Witness()
        self._clock = clock
        self._speed = speed
        self._offset = offset

    def now(self) -> float:
        return self._clock() * self._speed + self._offset

    def until(self, moment: float) -> float:
        """Return the true seconds until ``moment`` of its clock."""
        return (moment - self.now()) / self._speed

    def take(self, charges: Sequence[Charge], now: float) -> Taken | None:
        """Charge slices: one counter as a head that came before does, several as all others do."""
        if len(charges) > 1:
            return self.slices.take(charges, now)
        [one] = charges
        meter = self.meters.setdefault(one.key, LeasedMeter(self.slices, one, self.slices.take))
        taken = meter.take(now)
        return None if taken is None else Taken(taken[0], (taken[1],), taken[2])

    def die(self) -> None:
        self.slices, self.meters, self.witness = Slices(), {}, Witness()


@dataclass(eq=False)
class Message:
    """A message that is on its way, to the store or back."""

    replica: Replica
    slices: Slices
    sent: float
    question: Question | None = None
    report: Report | None = None
    answer: Taken | Exchanged | None = None
    reserved: list[tuple[Charge, Grant, int]] = field(default_factory=list)
    grants: list[Grant | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def is_for_the_dead(self) -> bool:
        return self.slices is not self.replica.slices


class Replicas(RuleBasedStateMachine):
    """Requests, and whatever can happen to clocks, messages, processes and counters."""

    algorithm: str

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.clock.seconds = 1_000_000.0
        self.ledger = Ledger(monotonic=self.clock)
        self.oracle = Oracle()
        self.oracle.advance(self.store_now)
        self.charges = [
            charge("wide", 200, period_seconds=60, algorithm=self.algorithm),
            charge("narrow", 90, period_seconds=1, algorithm=self.algorithm),
            charge("small", 48, period_seconds=60, algorithm=self.algorithm),
        ]
        self.replicas: list[Replica] = []
        self.to_store: list[Message] = []
        self.to_replica: list[Message] = []

    @property
    def store_now(self) -> int:
        return round(self.clock() * MICROSECONDS)

    @initialize(
        clocks=st.lists(
            st.tuples(st.floats(0.92, 1.08), st.floats(0, 1000)), min_size=1, max_size=MOST_REPLICAS
        )
    )
    def begin(self, clocks: list[tuple[float, float]]) -> None:
        self.replicas = [Replica(self.clock, *each) for each in clocks]

    # Requests

    @rule(which=st.integers(0), chosen=CHOICES, times=st.integers(1, 30))
    def ask(self, which: int, chosen: tuple[int, ...], times: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        charges = tuple(self.charges[index] for index in chosen)
        for _ in range(times):
            self._ask(replica, charges)

    @rule(which=st.integers(0), chosen=CHOICES, times=st.sampled_from([3, 20, 150]), pause=st.floats(0, 0.01))
    def ask_without_delay(self, which: int, chosen: tuple[int, ...], times: int, pause: float) -> None:
        for number in range(times):
            self.ask(which + number % 2, chosen, 1)
            self.deliver_all()
            self.report(which + number % 2)
            self.deliver_all()
            self.wait(pause)

    def _ask(self, replica: Replica, charges: tuple[Charge, ...]) -> None:
        now, slices = replica.now(), replica.slices
        can_take, refusal = slices.can_take(charges, now), slices.refusal(charges, now)
        taken = replica.take(charges, now)
        assert can_take == (taken is not None)
        assert (refusal is not None) == (taken is not None and not taken.admitted)
        if taken is not None:
            if taken.admitted:
                self._spend(replica, charges)
            self.oracle.told(replica.witness, charges, taken, now, now)
            return
        self._question(replica, slices.question(charges, now))

    def _question(self, replica: Replica, question: Question) -> None:
        now, charges = replica.now(), question.charges
        message = Message(replica, replica.slices, now, question=question)
        for each in charges:
            if each not in question.asked:
                grant = self.oracle.spent(replica.witness, each.counter, now)
                replica.witness.reserved[each.key] += 1
                message.reserved.append((each, grant, self.store_now))
        self.to_store.append(message)

    def _spend(self, replica: Replica, charges: Sequence[Charge]) -> None:
        for each in charges:
            self.oracle.spent(replica.witness, each.counter, replica.now())

    # Messages

    @rule(which=st.integers(0))
    def report(self, which: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        now = replica.now()
        replica.slices.close_due(now)
        if replica.slices.is_due:
            report = replica.slices.collect(2, now)
            self.oracle.reported(replica.witness, report.returns)
            self.to_store.append(Message(replica, replica.slices, now, report=report))

    @precondition(lambda self: self.to_store)
    @rule(which=st.integers(0))
    def deliver(self, which: int) -> None:
        message = self.to_store.pop(which % len(self.to_store))
        if message.report is not None:
            self._exchange(message, message.report)
        elif message.question is not None:
            self._decide(message, message.question)
        self.to_replica.append(message)

    @precondition(lambda self: self.to_replica)
    @rule(which=st.integers(0))
    def reply(self, which: int) -> None:
        message = self.to_replica.pop(which % len(self.to_replica))
        if message.is_for_the_dead:
            return
        replica, now = message.replica, message.replica.now()
        match message.answer:
            case Taken() as answer if message.question is not None:
                self._hold(message, [each.counter.key for each in message.question.asked])
                self._learn(message, message.question.asked, answer.states)
                verdict = replica.slices.answered(message.question, answer, now)
                self._release(message, is_spent=answer.admitted)
                charges, sent = message.question.charges, message.question.sent
                if verdict is None:
                    tries = message.question.tries + 1
                    self._question(replica, replica.slices.question(charges, now, tries))
                    return
                if verdict.admitted and not answer.admitted:
                    self._spend(replica, message.question.charges)
                self.oracle.told(replica.witness, charges, verdict, now, sent)
            case Exchanged() as answer if message.report is not None:
                wishes = message.report.wishes
                self._hold(message, [wish.counter.key for wish in wishes])
                asked = [
                    next(each for each in self.charges if each.counter == wish.counter) for wish in wishes
                ]
                self._learn(message, asked, [lent.state for lent in answer.lent])
                replica.slices.exchanged(message.report, answer, message.sent, now)

    @rule()
    def deliver_all(self) -> None:
        while self.to_store:
            self.deliver(0)
        while self.to_replica:
            self.reply(0)

    @precondition(lambda self: self.to_store)
    @rule(which=st.integers(0))
    def lose_a_message(self, which: int) -> None:
        self._lose(self.to_store.pop(which % len(self.to_store)))

    @precondition(lambda self: self.to_replica)
    @rule(which=st.integers(0))
    def lose_a_reply(self, which: int) -> None:
        self._lose(self.to_replica.pop(which % len(self.to_replica)))

    def _decide(self, message: Message, question: Question) -> None:
        counters = [each.counter for each in question.asked]
        message.answer = answer = self.ledger.take(counters, 1, question.wishes)
        for counter, state in zip(counters, answer.states, strict=True):
            if answer.admitted:
                self.oracle.charged(counter, state)
        for counter, state, loan in zip(
            counters, answer.states, answer.slices or [None] * len(counters), strict=True
        ):
            message.grants.append(loan and self.oracle.lent(counter, state, loan, question.sent))
            self.oracle.answered(counter, state)
            message.seen.append(self.oracle.seen(message.replica.witness, counter, self.store_now))
        if not answer.admitted:
            assert any(
                state[0] + counter.policy.weight > counter.policy.capacity
                for counter, state in zip(counters, answer.states, strict=True)
            )

    def _exchange(self, message: Message, report: Report) -> None:
        message.answer = answer = self.ledger.exchange(*report)
        self.oracle.taken_back(message.replica.witness, report.returns)
        for wish, lent in zip(report.wishes, answer.lent, strict=True):
            counter, loan = wish.counter, lent.slice
            message.grants.append(loan and self.oracle.lent(counter, lent.state, loan, message.sent))
            self.oracle.answered(counter, lent.state)
            message.seen.append(self.oracle.seen(message.replica.witness, counter, self.store_now))

    def _hold(self, message: Message, keys: Sequence[str]) -> None:
        for key, grant in zip(keys, message.grants, strict=True):
            is_forgotten = message.report and message.slices.holding(key) is None
            if grant is not None and not is_forgotten:
                grant.is_in_hand = True
                message.replica.witness.grants[key].append(grant)

    def _learn(self, message: Message, asked: Sequence[Charge], states: Sequence[State]) -> None:
        replica = message.replica
        for each, state, seen in zip(asked, states, message.seen, strict=True):
            self.oracle.learn(replica.witness, each.counter, state, seen, message.sent, replica.now())

    def _release(self, message: Message, *, is_spent: bool) -> None:
        witness = message.replica.witness
        for each, grant, moment in message.reserved:
            witness.reserved[each.key] -= 1
            if not is_spent:
                grant.unspend(moment)

    def _lose(self, message: Message) -> None:
        if message.is_for_the_dead:
            return
        now = message.replica.now()
        if message.question is not None:
            message.slices.unanswered(message.question, now)
            self._release(message, is_spent=False)
        elif message.report is not None:
            message.slices.exchanged(message.report, None, message.sent, now)

    # Time, deaths, and whatever operators do

    @rule(seconds=st.one_of(st.floats(0, 0.05), st.floats(0, 0.7), st.floats(0.7, 4), st.just(61.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.oracle.advance(self.store_now)

    @rule(which=st.integers(0))
    def kill_a_replica(self, which: int) -> None:
        self.replicas[which % len(self.replicas)].die()

    @rule()
    def restart_the_store(self) -> None:
        """It forgets everything. Messages that are on their way arrive all the same."""
        self.ledger = Ledger(monotonic=self.clock)
        self.oracle.forget([each.key for each in self.charges])

    @rule(which=st.integers(0), chosen=CHOICES)
    def restart_the_store_while_slices_are_out(self, which: int, chosen: tuple[int, ...]) -> None:
        """Slices of the counter's next life end when those of the former one would have ended."""
        self.ask_without_delay(which, chosen, 6, 0.0)
        self.restart_the_store()
        self.ask_without_delay(which + 1, chosen, 18, 0.0)
        self.be_quiet()
        self.ask_without_delay(which, chosen, 3, 0.0)

    @rule(which=st.integers(0), chosen=CHOICES, late=st.floats(0, 0.8), silence=st.floats(0, 1))
    def hang_with_slices(self, which: int, chosen: tuple[int, ...], late: float, silence: float) -> None:
        """A replica spends slices, and is late with its report."""
        self.ask_without_delay(which, chosen, 6, 0.0)
        self.wait(late)
        self.ask(which, chosen, 20)
        self.wait(silence)
        self.ask_without_delay(which + 1, chosen, 3, 0.0)

    @rule(which=st.integers(0), chosen=st.integers(0, 2), rest=st.floats(0.02, 1.2))
    def ask_when_a_window_ends(self, which: int, chosen: int, rest: float) -> None:
        """A fixed window has ``rest`` seconds left, or as much of its end as it is long."""
        self.ask_without_delay(which, (chosen,), 3, 0.0)
        one = self.charges[chosen].rule
        _, since = self.ledger.take([self.charges[chosen].counter], cost=0).states[0]
        ends = since / MICROSECONDS + one.rule.period_seconds
        self.wait(max(ends - min(rest, one.rule.period_seconds / 10) - self.clock(), 0))
        self.ask_without_delay(which, (chosen,), 20, 0.001)

    @rule(which=st.integers(0))
    def reset_a_consumer(self, which: int) -> None:
        replica = self.replicas[which % len(self.replicas)]
        replica.slices.reset("project:p")
        self.ledger.reset("project:p")
        self.oracle.forget([each.key for each in self.charges])
        for grants in replica.witness.grants.values():
            grants.clear()

    @rule()
    def be_quiet(self) -> None:
        """Let time pass without requests and losses: unused requests must be taken back in time."""
        self.deliver_all()
        in_hand = [
            grant
            for replica in self.replicas
            for grants in replica.witness.grants.values()
            for grant in grants
            if replica.now() < grant.closes and self.oracle.is_alive(grant.life)
        ]
        while True:
            for which, replica in enumerate(self.replicas):
                while replica.slices.is_due:
                    self.report(which)
                    self.deliver_all()
            closings = [
                (replica.until(replica.slices.next_closing), which)
                for which, replica in enumerate(self.replicas)
                if replica.slices.next_closing is not None
            ]
            if not closings:
                break
            seconds, which = min(closings)
            self.wait(max(seconds, 0) + 1e-6)
            self.report(which)
            self.deliver_all()
        assert not [grant for grant in in_hand if grant.out], "unused requests were not given back"

    @invariant()
    def no_rule_is_exceeded(self) -> None:
        self.oracle.check()


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
def test_replicas_together_never_admit_more_than_the_rule(algorithm: str) -> None:
    machine = type("Machine", (Replicas,), {"algorithm": algorithm})
    case = machine.TestCase  # type: ignore[attr-defined]
    # Shrinking a history of thousands of requests takes longer than reading it.
    case.settings = settings(
        max_examples=50,
        derandomize=True,
        stateful_step_count=50,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()
