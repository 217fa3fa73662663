"""The script settles what Redis has stored as ``Account`` does: after a pause, or a clock that went back."""

import random
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy

import pytest
from redis import Redis

from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.lending import Account
from metaproxy.protocol.limits.policy import MICROSECONDS, State
from metaproxy.store.counters import Charge, Return, Wish
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import RedisCounters
from tests.redis_server import RedisServer
from tests.unit.store.charges import charge

pytestmark = pytest.mark.redis

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
MOMENTS = [-3600, -61, -59.9, -59.5, -59, -30, -0.3, -0.0001, 0.5, 30, 61, 3600]
"""Seconds from now: since when a counter counts. The last ones are of a server whose clock was ahead."""
ENDS = [-90, -1, -0.2, 0.3, 0.9, 1.6, 2.5, 3600]
"""Seconds from now: when slices end."""
LIMIT = 600
TOO_LITTLE = 1
"""Requests that no counter lends, so that nothing changes."""


class StoredCounter:
    """A counter in Redis whose text the test writes."""

    def __init__(self, store: SharedStore, client: Redis, algorithm: str, seed: int) -> None:
        self.counters = RedisCounters(store, algorithm=algorithm)
        self.charge: Charge = charge(limit=LIMIT, algorithm=algorithm)
        self.policy = self.charge.rule.policy
        self._client = client
        self._key = store.key("rate", algorithm, self.charge.key)
        self._random = random.Random(seed)

    @property
    def text(self) -> object:
        return self._client.get(self._key)

    @text.setter
    def text(self, text: str) -> None:
        self._client.set(self._key, text)

    def now(self) -> int:
        seconds, microseconds = self._client.time()
        return int(seconds) * MICROSECONDS + int(microseconds)

    def any_account(self) -> Account:
        """Store an account that has more or less to do with the present; return the same."""
        now, account = self.now(), Account()
        account.since = now + round(self._random.choice(MOMENTS) * MICROSECONDS)
        requests = self._random.choice([0, 0, 1, 20, 500, LIMIT])
        account.amount = requests * self.policy.weight
        account.born = self._random.randrange(1, 2**48)
        slices = self._random.choice([0, 0, 1, 3]) if requests < LIMIT else 0
        for seconds in sorted(self._random.sample(ENDS, slices)):
            account.lent[now + round(seconds * MICROSECONDS)] = (
                self._random.randint(1, 30) * self.policy.weight
            )
        lent = "".join(f";{end}:{units}" for end, units in account.lent.items())
        self.text = f"{account.amount}:{account.since}" + (f":{account.born}{lent}" if lent else "")
        return account

    def any_return(self, account: Account) -> Return:
        """Return a report on a slice of ``account`` or on one that it does not have."""
        end = self._random.choice([*account.lent, self.now()])
        born = account.born + self._random.choice([0, 0, 1])
        spent, unused = self._random.choices([0, 1, 7, 50], k=2)
        return Return(self.charge.counter, (born, end), spent, unused)

    async def look(self, returns: tuple[Return, ...] = ()) -> tuple[State, int]:
        """Let the script look as it does when it lends and takes back."""
        told = await self.counters.exchange(returns, [Wish(self.charge.counter, TOO_LITTLE)])
        assert told.lent[0].slice is None
        return told.lent[0].state, told.now

    def expires_as(self, account: Account, now: int) -> bool:
        """Say whether the key lives as long as ``account`` counts anything, and not much longer."""
        total, since = account.state
        before, left, after = self.now(), self._client.pttl(self._key), self.now()
        if not total:
            return self.text is None
        if isinstance(self.policy, FixedWindow):
            ends = since + self.policy.pace
        else:
            ends = now + total // self.policy.pace + (2 * MICROSECONDS if account.lent else 0)
        return before + left * 1000 < ends + MICROSECONDS and ends - MICROSECONDS < after + left * 1000


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SharedStore]:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    yield store
    await store.close()


def any_counters(
    store: SharedStore, redis_server: RedisServer, algorithm: str, number: int
) -> Iterator[tuple[StoredCounter, Account]]:
    """Yield counters, each with what is stored of it."""
    with redis_server.client() as client:
        for seed in range(number):
            stored = StoredCounter(store, client, algorithm, seed)
            yield stored, stored.any_account()


@ALGORITHMS
async def test_looking_settles_as_the_pure_functions_do_and_writes_nothing(
    store: SharedStore, redis_server: RedisServer, algorithm: str
) -> None:
    for stored, account in any_counters(store, redis_server, algorithm, 150):
        text, same = stored.text, deepcopy(account)
        alone = await stored.counters.peek([stored.charge])
        account.settle(stored.policy, alone.now)
        assert tuple(alone.states) == (account.state,)
        state, now = await stored.look()
        same.settle(stored.policy, now)
        assert state == same.state
        assert stored.text == text


@ALGORITHMS
@pytest.mark.parametrize("cost", [1, -1])
@pytest.mark.parametrize("wishes", [(), (TOO_LITTLE,)], ids=["alone", "with a wish"])
async def test_a_charge_is_made_or_taken_back_as_by_the_pure_functions(
    store: SharedStore, redis_server: RedisServer, algorithm: str, cost: int, wishes: tuple[int, ...]
) -> None:
    for stored, account in any_counters(store, redis_server, algorithm, 60):
        text = stored.text
        taken = await stored.counters.take([stored.charge], wishes, cost)
        account.settle(stored.policy, taken.now)
        assert taken.admitted == account.fits(stored.policy, cost)
        if taken.admitted:
            account.charge(stored.policy, cost)
            assert stored.expires_as(account, taken.now)
        else:
            assert stored.text == text
        assert tuple(taken.states) == (account.state,)


@ALGORITHMS
async def test_a_report_is_taken_back_as_by_the_pure_functions(
    store: SharedStore, redis_server: RedisServer, algorithm: str
) -> None:
    for stored, account in any_counters(store, redis_server, algorithm, 150):
        report = stored.any_return(account)
        state, now = await stored.look((report,))
        account.settle(stored.policy, now)
        account.take_back(stored.policy, report.mark, report.spent, report.unused)
        assert state == account.state
        assert stored.expires_as(account, now)


@ALGORITHMS
async def test_a_slice_is_lent_as_by_the_pure_functions(
    store: SharedStore, redis_server: RedisServer, algorithm: str
) -> None:
    for stored, account in any_counters(store, redis_server, algorithm, 150):
        former = account.born
        told = await stored.counters.exchange([], [Wish(stored.charge.counter, 50)])
        [(state, loan)] = told.lent
        account.settle(stored.policy, told.now)
        requests = account.lendable(stored.policy, told.now, 50)
        assert requests == (loan.requests if loan else 0)
        if loan is not None:
            assert account.lent or loan.mark[0] > former, "the slice has the name of a former one"
            assert loan == account.lend(stored.policy, told.now, requests, loan.mark[0])
            assert stored.expires_as(account, told.now)
        assert state == account.state
        state, now = await stored.look()
        account.settle(stored.policy, now)
        assert state == account.state or loan is None


@ALGORITHMS
@pytest.mark.parametrize(
    "text",
    [
        "{huge}:{now}",
        "{huge}:{now}:1;{soon}:5",
        "5:{now}:1;{soon}:{huge}",
        "{huge}:{now}:1;{soon}:{huge}",
        "5:{huge}",
        "5:{huge}:{huge};{huge}:{huge}",
    ],
)
async def test_a_text_that_no_replica_writes_counts_no_more_than_a_full_counter(
    store: SharedStore, redis_server: RedisServer, algorithm: str, text: str
) -> None:
    with redis_server.client() as client:
        stored = StoredCounter(store, client, algorithm, seed=1)
        now = stored.now()
        stored.text = text.format(huge="9" * 20, now=now, soon=now + MICROSECONDS)
        [state] = (await stored.counters.peek([stored.charge])).states
        again, _ = await stored.look()
        for amount, since in (state, again):
            assert 0 <= amount <= stored.policy.capacity
            assert since <= stored.now()
        await stored.counters.take([stored.charge])
        assert store.available


@ALGORITHMS
@pytest.mark.parametrize("rest", [":x", ":1", ":1;", ":1;x"])
async def test_a_text_that_is_cut_off_counts_as_untouched(
    store: SharedStore, redis_server: RedisServer, algorithm: str, rest: str
) -> None:
    with redis_server.client() as client:
        stored = StoredCounter(store, client, algorithm, seed=1)
        stored.text = f"5:{stored.now()}{rest}"
        assert (await stored.counters.peek([stored.charge])).states[0][0] == 0
        assert (await stored.look())[0][0] == 0


@ALGORITHMS
async def test_what_is_lent_leaves_no_room_for_a_charge(
    store: SharedStore, redis_server: RedisServer, algorithm: str
) -> None:
    with redis_server.client() as client:
        stored = StoredCounter(store, client, algorithm, seed=1)
        now, weight = stored.now(), stored.policy.weight
        ahead, soon = now + 3600 * MICROSECONDS, now + MICROSECONDS  # nothing leaks until the clock is there
        stored.text = f"{500 * weight}:{ahead}:1;{soon}:{100 * weight}"
        assert not (await stored.counters.take([stored.charge], (TOO_LITTLE,))).admitted
