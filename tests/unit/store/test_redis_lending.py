"""The script lends as the ledger does: what it answered is replayed at the moments that its clock said."""

import random
from collections.abc import AsyncIterator

import pytest

from metaproxy.protocol.limits.lending import Slice
from metaproxy.protocol.limits.policy import MICROSECONDS
from metaproxy.store.counters import Charge, Counter, Return, Wish
from metaproxy.store.ledger import Ledger
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import COUNTERS_A_CALL, RedisCounters
from tests.filters.limiting import FakeClock
from tests.redis_server import RedisServer
from tests.unit.store.charges import charge

pytestmark = pytest.mark.redis

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
STEPS = 600


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SharedStore]:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    yield store
    await store.close()


class Both:
    """The counters in Redis, and a ledger that is asked the same at the same moments."""

    def __init__(self, store: SharedStore, algorithm: str, seed: int) -> None:
        self._redis = RedisCounters(store, algorithm=algorithm)
        self._clock = FakeClock()
        self._ledger = Ledger(monotonic=self._clock)
        self._random = random.Random(seed)
        # Limits that are used up within the test, and windows of a second that end.
        self._charges = [
            charge(f"r{number}", limit, period_seconds=period, algorithm=algorithm)
            for number, (limit, period) in enumerate([(3000, 1), (900, 1), (400, 60), (90, 60)])
        ]
        self.lent = 0
        self._out: list[tuple[Counter, Slice, Slice]] = []

    async def step(self) -> None:
        chosen = self._random.sample(self._charges, self._random.randint(1, 3))
        if self._random.random() < 0.6:
            await self._take(chosen)
        else:
            await self._exchange(chosen)

    async def _take(self, chosen: list[Charge]) -> None:
        wishes = [self._random.choice([0, 0, 7, 60]) for _ in chosen]
        told = await self._redis.take(chosen, wishes)
        self._clock.seconds = told.now / MICROSECONDS
        known = self._ledger.take([each.counter for each in chosen], 1, wishes)
        assert (told.admitted, list(told.states), told.now) == (known.admitted, known.states, known.now)
        assert len(told.slices) == len(known.slices)
        for each, ours, theirs in zip(chosen, told.slices, known.slices, strict=False):
            self._keep(each.counter, ours, theirs)

    async def _exchange(self, chosen: list[Charge]) -> None:
        back = [self._out.pop(self._random.randrange(len(self._out))) for _ in self._out[:2]]
        spent = [self._random.randint(0, ours.requests) for _, ours, _ in back]
        wishes = [Wish(each.counter, self._random.choice([5, 50])) for each in chosen]

        told_of = [(row[0], row[1], used) for row, used in zip(back, spent, strict=True)]
        known_of = [(row[0], row[2], used) for row, used in zip(back, spent, strict=True)]
        told = await self._redis.exchange(reports(told_of), wishes)
        self._clock.seconds = told.now / MICROSECONDS
        known = self._ledger.exchange(reports(known_of), wishes)
        for wish, ours, theirs in zip(wishes, told.lent, known.lent, strict=True):
            assert ours.state == theirs.state
            self._keep(wish.counter, ours.slice, theirs.slice)

    def _keep(self, counter: Counter, ours: Slice | None, theirs: Slice | None) -> None:
        if ours is None or theirs is None:
            assert ours is theirs
            return
        assert ours[:2] == theirs[:2]
        assert ours.mark[1] == theirs.mark[1]
        self.lent += ours.requests
        self._out.append((counter, ours, theirs))


def reports(slices: list[tuple[Counter, Slice, int]]) -> list[Return]:
    return [Return(counter, loan.mark, used, loan.requests - used) for counter, loan, used in slices]


@ALGORITHMS
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_script_lends_and_takes_back_as_the_ledger_does(
    store: SharedStore, algorithm: str, seed: int
) -> None:
    both = Both(store, algorithm, seed)
    for _ in range(STEPS):
        await both.step()
    assert both.lent


@ALGORITHMS
async def test_an_exchange_of_more_counters_than_a_call_has_takes_several(
    store: SharedStore, algorithm: str
) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    many = [
        charge(limit=1000, consumer=f"project:{number}", algorithm=algorithm)
        for number in range(2 * COUNTERS_A_CALL + 1)
    ]
    for each in many:
        await counters.take([each])
    lent = (await counters.exchange([], [Wish(each.counter, 5) for each in many])).lent
    assert {each.slice and each.slice.requests for each in lent} == {5}


@ALGORITHMS
async def test_slices_that_are_out_end_with_their_key(store: SharedStore, algorithm: str) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    one = charge(limit=1000, algorithm=algorithm)
    assert (await counters.take([one], [50])).slices
    remaining = await store.use("test").call(
        lambda client: client.pttl(store.key("rate", algorithm, one.key))
    )
    assert 0 < remaining <= 60_000


@ALGORITHMS
async def test_a_slice_from_before_a_reset_gives_nothing_back_after_it(
    store: SharedStore, algorithm: str
) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    one = charge(limit=1000, algorithm=algorithm)
    [former] = (await counters.take([one], [50])).slices
    assert former
    assert await counters.reset("project:p") == 1
    assert (await counters.take([one], [50])).slices
    await counters.exchange([Return(one.counter, former.mark, 0, 50)], [])
    [(amount, _)] = (await counters.peek([one])).states
    assert amount > 50 * one.rule.policy.weight
