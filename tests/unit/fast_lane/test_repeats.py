from typing import Any

from metaproxy.check import Decided, Prepared
from metaproxy.fast_lane.plans import Remembered
from metaproxy.fast_lane.repeats import Repeats, Undecided
from metaproxy.protocol.faults import Fault

UNUSED: Any = None


class Charging(Prepared):
    """Counts what it admits."""

    def __init__(self) -> None:
        self.admitted = 0

    def admit(self, now: float) -> Decided:
        self.admitted += 1
        return None, b""


class Outside(Prepared):
    """A counter in a store that must be asked."""

    def can_decide(self, now: float) -> bool:
        return False

    def admit(self, now: float) -> None:
        return None


def test_nothing_is_charged_if_a_later_decision_needs_the_store() -> None:
    early = Charging()
    plan = Remembered(
        scope={},
        exchange=UNUSED,
        known=None,
        looked_up=None,
        end=UNUSED,
        early_end=UNUSED,
        refusal=Fault(401, "No.", reason="no_token"),
        decisions=[early, Outside()],
        early=[early],
    )
    assert Repeats(UNUSED, UNUSED).answer(plan, 0.0) == Undecided(None)
    assert early.admitted == 0
