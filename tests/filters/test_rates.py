from collections.abc import Sequence
from typing import Any

import pytest

from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.settings import OnStoreFailure
from metaproxy.protocol.limits.top import ConsumerCount
from metaproxy.store.counters import Charge, Exchanged, Return, SendingMeter, Taken, Wish
from metaproxy.store.ledger import Ledger
from metaproxy.store.unavailable import StoreUnavailable
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import ITEM, FakeClock, Identified, Upstream, body_of, rate

ALICE = [("x-project", "p1")]
CAROL = [("x-project", "p2")]


class FakeStore:
    """Counters that several processes could share, and that can fail."""

    def __init__(self, clock: FakeClock) -> None:
        self._ledger = Ledger(monotonic=clock)
        self.available = True
        self.dies = False
        self.asked = 0

    async def take(self, charges: Sequence[Charge], wishes: Sequence[int] = ()) -> Taken:
        self._ask()
        return self._ledger.take([charge.counter for charge in charges], 1, wishes)

    async def exchange(self, returns: Sequence[Return], wishes: Sequence[Wish]) -> Exchanged:
        self._ask()
        return self._ledger.exchange(returns, wishes)

    async def give_back(self, charges: Sequence[Charge]) -> None:
        self._ask()
        self._ledger.take([charge.counter for charge in charges], -1)

    async def peek(self, charges: Sequence[Charge]) -> Taken:
        self._ask()
        return self._ledger.take([charge.counter for charge in charges], 0)

    async def reset(self, consumer: str) -> int:
        self._ask()
        return self._ledger.reset(consumer)

    def meter(self, charge: Charge) -> SendingMeter:
        return SendingMeter()

    def _ask(self) -> None:
        self.asked += 1
        if self.dies or not self.available:
            self.available = False
            raise StoreUnavailable


class Line:
    """Two rate limits in front of one upstream, with one store between them."""

    def __init__(self, *, on_store_failure: OnStoreFailure = "local", limit: int = 2) -> None:
        self.clock = FakeClock()
        self.store = FakeStore(self.clock)
        self.metrics = Metrics()
        self.replicas = [
            Rates(
                [rate(limit=limit)],
                shared=self.store,
                on_store_failure=on_store_failure,
                monotonic=self.clock,
                endpoint="/limits",
            )
            for _ in range(2)
        ]

    async def get(self, replica: int = 0, path: str = ITEM, who: Any = ALICE) -> Answer:
        rates = self.replicas[replica]
        endpoint = LimitsEndpoint(Upstream(), rates=rates, path="/limits")
        app = RateLimit(endpoint, rates=rates, metrics=self.metrics, monotonic=self.clock)
        return await drive(Identified(app), "GET", path, who)


async def test_replicas_share_one_limit() -> None:
    line = Line()
    answers = [await line.get(replica) for replica in (0, 1, 0, 1)]
    assert [answer.status for answer in answers] == [200, 200, 413, 413]
    assert answers[3].header("retry-after") == "30"


async def test_the_time_that_the_store_took_is_noted() -> None:
    answer = await Line().get()
    assert answer.exchange.waits == {"store": 0.0}


@pytest.mark.parametrize(
    ("on_store_failure", "expected"),
    [("local", [200, 200, 413, 413]), ("allow", [200, 200, 200, 200]), ("deny", [503, 503, 503, 503])],
)
@pytest.mark.parametrize("known_to_be_away", [True, False])
async def test_without_the_store_the_operators_choice_holds(
    on_store_failure: OnStoreFailure, expected: list[int], known_to_be_away: bool
) -> None:
    line = Line(on_store_failure=on_store_failure)
    line.store.dies = True
    line.store.available = not known_to_be_away
    assert [(await line.get()).status for _ in range(4)] == expected
    assert line.store.asked == (0 if known_to_be_away else 1)


async def test_denying_says_when_to_come_back() -> None:
    line = Line(on_store_failure="deny")
    line.store.available = False
    answer = await line.get()
    assert answer.header("retry-after") == "1"
    assert answer.exchange.reason == "store_unavailable"


async def test_denying_refuses_to_tell_the_limits_too() -> None:
    line = Line(on_store_failure="deny")
    line.store.dies = True
    answer = await line.get(path="/limits")
    assert (answer.status, answer.exchange.reason) == (503, "store_unavailable")


async def test_what_is_not_counted_is_not_told() -> None:
    line = Line(on_store_failure="allow")
    line.store.available = False
    assert (await line.get()).header("ratelimit") is None


async def test_the_store_is_asked_again_when_it_is_back() -> None:
    line = Line(limit=1)
    line.store.available = False
    assert [(await line.get(replica)).status for replica in (0, 1)] == [200, 200]
    line.store.available = True
    assert [(await line.get(replica)).status for replica in (0, 1)] == [200, 413]


async def test_the_limits_are_told_from_the_store_or_from_what_is_counted_here() -> None:
    line = Line()
    await line.get()
    remaining = []
    for dies in (False, True):
        line.store.dies = dies
        told = body_of(await line.get(1, "/limits"))["limits"]["rate"][0]["limit"][0]
        remaining.append(told["remaining"])
    assert remaining == [1, 2]


async def test_a_reset_reaches_the_store_and_this_process() -> None:
    line = Line(limit=1)
    await line.get()
    line.store.available = False
    await line.get()
    line.store.available = True
    assert await line.replicas[0].reset("project:p1") == 2
    assert line.replicas[0].top(10) == []
    assert (await line.get(1)).status == 200


async def test_a_reset_while_the_store_is_away_says_so() -> None:
    line = Line()
    line.store.available = False
    with pytest.raises(StoreUnavailable):
        await line.replicas[0].reset("project:p1")


async def test_the_busiest_consumers_are_known_with_their_refusals() -> None:
    line = Line(limit=2)
    for who in (CAROL, ALICE, ALICE, ALICE):
        await line.get(who=who)
    assert line.replicas[0].top(2) == [
        ConsumerCount("project:p1", 3, 1),
        ConsumerCount("project:p2", 1, 0),
    ]


async def test_counters_and_decisions_without_the_store_are_shown() -> None:
    line = Line()
    line.store.available = False
    await line.get()
    shown = {family.name: family.samples[0].value for family in line.metrics.collect() if family.samples}
    assert shown["metaproxy_limit_counters"] == 1
    assert shown["metaproxy_limit_without_store"] == 1


async def test_the_rules_can_be_listed() -> None:
    assert Line().replicas[0].rules == (rate(limit=2),)
