"""What the limit stage promises, for any rules and any arrivals: it admits after Retry-After, and not before
its time; a refusal charges nothing; what it says remains is admitted.
"""

import re
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.rates import Rates
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.settings.units import RATE_UNITS
from tests.asgi_driver import make_scope
from tests.filters.limiting import FakeClock, rate

ALICE = Identity(project_id="p1", user_id="alice")

rules = st.lists(
    st.builds(
        rate,
        limit=st.integers(1, 20),
        period_seconds=st.sampled_from(list(RATE_UNITS.values())),
        burst=st.none() | st.integers(1, 20),
        per=st.sampled_from([("project",), ("user",), ("address",)]),
    ),
    min_size=1,
    max_size=3,
)
algorithms: st.SearchStrategy[Literal["gcra", "fixed-window"]] = st.sampled_from(["gcra", "fixed-window"])
gaps = st.lists(st.just(0.0) | st.floats(0, 120), max_size=40)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


class Consumer:
    """One consumer in front of a limit stage, with a clock that stands still until it is moved."""

    def __init__(self, rules: list[RateRule], algorithm: str) -> None:
        self.clock = FakeClock()
        only = {} if algorithm == "gcra" else {"burst": None}  # a fixed window has no burst of its own
        named = [rule.model_copy(update={"name": f"r{number}", **only}) for number, rule in enumerate(rules)]
        self._stage = RateLimit(nowhere, rates=Rates(named, algorithm=algorithm, monotonic=self.clock))
        self.remaining: list[int] = []

    def ask(self) -> int | None:
        """Send a request; return None, or the Retry-After of its refusal."""
        exchange = Exchange("req-1", 0.0, client_address="192.0.2.1", identity=ALICE)
        verdict = self._stage.decide(exchange, make_scope("GET", "/"))
        told = dict(exchange.response_headers)[b"ratelimit"].decode()
        self.remaining = [int(number) for number in re.findall(r"r=(\d+)", told)]
        return verdict.retry_after if isinstance(verdict, Fault) else None


@settings(max_examples=60)
@given(rules, algorithms, gaps)
def test_waiting_retry_after_always_admits(rules: list[RateRule], algorithm: str, gaps: list[float]) -> None:
    consumer = Consumer(rules, algorithm)
    for gap in gaps:
        consumer.clock.advance(gap)
        if (seconds := consumer.ask()) is not None:
            consumer.clock.advance(seconds)
            assert consumer.ask() is None


@settings(max_examples=60)
@given(rules, algorithms, gaps)
def test_waiting_a_second_less_than_retry_after_never_admits(
    rules: list[RateRule], algorithm: str, gaps: list[float]
) -> None:
    consumer = Consumer(rules, algorithm)
    for gap in gaps:
        consumer.clock.advance(gap)
        if (seconds := consumer.ask()) is not None:
            consumer.clock.advance(seconds - 1)
            assert consumer.ask() is not None


@settings(max_examples=60)
@given(rules, algorithms, gaps)
def test_refusals_charge_nothing(rules: list[RateRule], algorithm: str, gaps: list[float]) -> None:
    consumer = Consumer(rules, algorithm)
    for gap in gaps:
        consumer.clock.advance(gap)
        consumer.ask()
    refused = [(consumer.ask(), consumer.remaining) for _ in range(100)]
    assert refused[-1][0] is not None
    told = {tuple(remaining) for seconds, remaining in refused if seconds is not None}
    assert len(told) == 1


@settings(max_examples=60)
@given(rules, algorithms, gaps)
def test_as_many_are_admitted_as_every_answer_said_would_remain(
    rules: list[RateRule], algorithm: str, gaps: list[float]
) -> None:
    consumer = Consumer(rules, algorithm)
    for gap in gaps:
        consumer.clock.advance(gap)
        consumer.ask()
    consumer.ask()
    promised = min(consumer.remaining)
    assert [consumer.ask() is None for _ in range(promised + 1)] == [True] * promised + [False]
