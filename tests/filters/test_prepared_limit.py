"""A prepared decision charges, counts and tells what the limit stage does for the same request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.check import Decided
from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.metered import prepared_limit
from metaproxy.filters.rates import Rates
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import lines
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.units import Rate
from metaproxy.telemetry.metrics import Metrics
from metaproxy.verdicts import PASS
from tests.asgi_driver import make_scope
from tests.filters.limiting import FakeClock, Upstream
from tests.unit.store.charges import charge

ONE = [RateRule(name="reads", rate=Rate(3, "minute"))]
TWO = [*ONE, RateRule(name="all", rate=Rate(5, "minute"), per=("global",))]
NONE = [RateRule(name="writes", rate=Rate(3, "minute"), methods=("POST",))]


class Limit:
    """The stage, with one consumer."""

    def __init__(self, rules: list[RateRule], **options: Any) -> None:
        self.clock, self.metrics = FakeClock(), Metrics()
        self.rates = Rates(rules, monotonic=self.clock, max_counters=2, **options)
        self.stage = RateLimit(Upstream(), rates=self.rates, metrics=self.metrics, monotonic=self.clock)
        self.scope = make_scope("GET", "/images")
        self.prepared = prepared_limit(self.stage, self.exchange(), self.scope)

    def exchange(self) -> Exchange:
        return Exchange("req-1", self.clock(), identity=Identity(project_id="p1"))

    def decide(self) -> Decided:
        """Ask the stage itself."""
        exchange = self.exchange()
        verdict = self.stage.decide(exchange, self.scope)
        assert verdict is PASS or isinstance(verdict, Fault)
        return verdict if isinstance(verdict, Fault) else None, lines(exchange.response_headers)

    def admit(self) -> Decided | None:
        """Ask the prepared decision."""
        return self.prepared.admit(self.clock())

    def numbers(self) -> object:
        samples = [sample for family in self.metrics.collect() for sample in family.samples]
        return [(s.name, s.labels, s.value) for s in samples], self.rates.top(9)


def told(decided: Decided | None) -> object:
    assert decided is not None
    fault, said = decided
    return said, fault and (fault.status, fault.message, fault.reason, fault.retry_after)


@pytest.mark.parametrize("rules", [ONE, TWO, NONE])
@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 40), st.sampled_from(["nothing"] * 4 + ["reset", "push out"])), max_size=20
    ),
    headers=st.booleans(),
    status=st.sampled_from([413, 429]),
)
def test_it_decides_as_the_stage_does(
    rules: list[RateRule], algorithm: str, steps: list[tuple[float, str]], headers: bool, status: int
) -> None:
    options: dict[str, Any] = {"algorithm": algorithm, "headers": headers, "over_limit_status": status}
    stage, prepared = Limit(rules, **options), Limit(rules, **options)

    for pause, event in steps:
        assert told(prepared.admit()) == told(stage.decide())
        for limit in (stage, prepared):
            limit.clock.advance(pause)
            if event == "reset":
                limit.rates._local.reset("project:p1")
            elif event == "push out":
                limit.rates._local.take([charge(consumer="user:a"), charge(consumer="user:b")])

    assert prepared.numbers() == stage.numbers()


@pytest.mark.parametrize("rules", [ONE, TWO])
def test_who_is_refused_now_is_refused_and_who_is_not_is_not_counted(rules: list[RateRule]) -> None:
    limit = Limit(rules)

    assert limit.prepared.refuse(limit.clock()) is None
    assert limit.rates.top(9) == []
    for _ in range(3):
        limit.admit()
    refused = limit.prepared.refuse(limit.clock())

    assert told(refused) == told(limit.admit())


def test_the_same_refusal_is_not_made_anew() -> None:
    limit = Limit(ONE)
    for _ in range(3):
        limit.admit()

    one, other = limit.admit(), limit.admit()

    assert one is not None
    assert other is not None
    assert one[0] is other[0]


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({}, True),
        ({"path": "/servers/{id}"}, True),
        ({"path": "/servers/{id}", "per": ("project", "id")}, False),
        ({"path": "/servers/7"}, False),
        ({"regex": "/servers/.*"}, False),
    ],
)
def test_a_decision_holds_for_all_paths_of_a_kind_where_rules_tell_none_apart(
    rule: dict[str, Any], holds: bool
) -> None:
    limit = Limit([RateRule(name="reads", rate=Rate(3, "minute"), **rule)])

    assert limit.stage.holds_for_kinds is holds
