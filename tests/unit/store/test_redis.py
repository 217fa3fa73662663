import asyncio
from collections.abc import AsyncIterator

import pytest

from metaproxy.protocol.limits.policy import MICROSECONDS, UNTOUCHED, fits
from metaproxy.store.counters import Metered, SendingMeter, Taken
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import SCRIPT_SHA, RedisCounters
from metaproxy.store.unavailable import StoreUnavailable
from tests.redis_server import RedisServer
from tests.unit.store.charges import charge, spend

pytestmark = pytest.mark.redis

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])


@pytest.fixture(params=[True, False], ids=["one pipe", "without hiredis"])
async def store(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[SharedStore]:
    store = SharedStore(redis_server.url, timeout_seconds=5, one_pipe=request.param)
    yield store
    await store.close()


@ALGORITHMS
async def test_as_many_as_the_limit_are_admitted(store: SharedStore, algorithm: str) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    taken = [await counters.take([charge(algorithm=algorithm)]) for _ in range(5)]
    assert [one.admitted for one in taken] == [True, True, True, False, False]


@ALGORITHMS
async def test_the_script_settles_and_charges_as_the_pure_functions_do(
    store: SharedStore, algorithm: str
) -> None:
    """What the script answered is replayed at the moments that the server's clock said."""
    counters = RedisCounters(store, algorithm=algorithm)
    # Seven a second: states that leak, and windows that end, while the test runs.
    one = charge(limit=7, period_seconds=1, algorithm=algorithm)
    policy, state = one.rule.policy, UNTOUCHED
    begun, now, verdicts = 0, 0, set()
    while now - begun < 1.2 * MICROSECONDS:
        taken: Taken = await counters.take([one])
        now = taken.now
        begun = begun or now
        settled = policy.settle(state, now)
        admitted = fits(policy, settled)
        state = spend(policy, settled) if admitted else settled
        assert taken == Taken(admitted, (state,), now)
        verdicts.add(admitted)
    assert verdicts == {True, False}


@ALGORITHMS
async def test_one_counter_without_room_leaves_all_uncharged(store: SharedStore, algorithm: str) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    wide, narrow = charge("wide", 10, algorithm=algorithm), charge("narrow", 1, algorithm=algorithm)
    await counters.take([wide, narrow])
    refused = await counters.take([wide, narrow])
    assert not refused.admitted
    assert 0 < refused.states[0][0] <= wide.rule.policy.weight


@ALGORITHMS
@pytest.mark.parametrize(
    "value", ["", "x", "12", "-5:3", "1e5:7", "1:2:3", "\x00\xff", "99999999999999999999:1"]
)
async def test_a_counter_that_cannot_be_read_counts_as_untouched_and_harms_no_other(
    store: SharedStore, algorithm: str, value: str
) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    broken = charge("broken", 2, algorithm=algorithm)
    other = charge("other", 9, algorithm=algorithm)
    await store.use("test").call(lambda client: client.set(store.key("rate", algorithm, broken.key), value))

    taken = [await counters.take([broken, other]) for _ in range(3)]

    assert [one.admitted for one in taken] == [True, True, False]
    assert store.available


@pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])
async def test_a_counter_of_another_type_counts_as_untouched(store: SharedStore, algorithm: str) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    broken = charge("broken", 1, algorithm=algorithm)
    await store.use("test").call(lambda client: client.lpush(store.key("rate", algorithm, broken.key), "x"))

    assert [(await counters.take([broken])).admitted for _ in range(2)] == [True, False]
    assert store.available


async def test_looking_charges_and_writes_nothing(store: SharedStore) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    assert (await counters.peek([charge()])).states[0][0] == 0
    assert await store.use("test").call(lambda client: client.dbsize()) == 0


async def test_no_charges_ask_nothing(store: SharedStore, redis_server: RedisServer) -> None:
    redis_server.kill()
    assert (await RedisCounters(store, algorithm="gcra").take([])).admitted


@pytest.mark.parametrize(("algorithm", "most"), [("gcra", 20_000), ("fixed-window", 60_000)])
async def test_keys_expire_when_they_count_nothing_any_more(
    store: SharedStore, algorithm: str, most: int
) -> None:
    counters = RedisCounters(store, algorithm=algorithm)
    one = charge(limit=3, algorithm=algorithm)
    await counters.take([one])
    remaining = await store.use("test").call(
        lambda client: client.pttl(store.key("rate", algorithm, one.key))
    )
    assert most - 5000 < remaining <= most


async def test_the_script_is_sent_once_and_again_when_the_server_forgot_it(store: SharedStore) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    await counters.take([charge()])
    await store.use("test").call(lambda client: client.script_flush())
    assert (await counters.take([charge()])).admitted
    assert await store.use("test").call(lambda client: client.script_exists(SCRIPT_SHA)) == [True]


async def sent(meter: SendingMeter) -> Metered | None:
    """Ask with the question that is packed; None also if that takes a task."""
    reply = asyncio.get_running_loop().create_future()
    return meter.taken(await reply) if meter.send(reply.set_result) else None


@pytest.fixture
async def piped(redis_server: RedisServer) -> AsyncIterator[SharedStore]:
    """Yield a store whose pipe is open."""
    store = SharedStore(redis_server.url, timeout_seconds=5)
    await store.start()
    yield store
    await store.close()


@ALGORITHMS
async def test_a_question_that_is_sent_charges_what_one_that_is_awaited_does(
    piped: SharedStore, algorithm: str
) -> None:
    counters = RedisCounters(piped, algorithm=algorithm)
    one = charge(limit=3, period_seconds=3600, algorithm=algorithm)
    await counters.take([one])
    taken = [await sent(counters.meter(one)) for _ in range(3)]
    assert [each and each[0] for each in taken] == [True, True, False]
    awaited = await counters.peek([one])
    assert taken[-1] is not None
    assert abs(awaited.states[0][0] - taken[-1][1][0]) <= one.rule.policy.weight


async def test_a_question_is_not_sent_before_there_is_a_pipe(store: SharedStore) -> None:
    assert await sent(RedisCounters(store, algorithm="gcra").meter(charge())) is None
    assert store.available


async def test_a_question_for_a_script_that_the_server_forgot_did_nothing(piped: SharedStore) -> None:
    counters = RedisCounters(piped, algorithm="gcra")
    await piped.use("test").call(lambda client: client.script_flush())
    assert await sent(counters.meter(charge())) is None
    assert piped.available
    assert (await counters.take([charge()])).admitted
    assert await sent(counters.meter(charge())) is not None


async def test_a_question_that_the_server_never_answers_loses_the_store(
    piped: SharedStore, redis_server: RedisServer
) -> None:
    counters = RedisCounters(piped, algorithm="gcra")
    await counters.take([charge()])
    redis_server.freeze()
    reply = asyncio.ensure_future(sent(counters.meter(charge())))
    await asyncio.sleep(0)
    redis_server.kill()
    assert await reply is None
    assert not piped.available


async def test_any_number_of_requests_at_once_share_few_connections(
    store: SharedStore, redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    taken = await asyncio.gather(
        *(counters.take([charge(limit=30, period_seconds=86_400)]) for _ in range(1000))
    )
    assert sum(one.admitted for one in taken) == 30
    with redis_server.client() as client:
        connected = client.info("clients")["connected_clients"] - 1  # the test's own
    assert connected <= (1 if "one pipe" in request.node.name else 32)


async def test_a_request_that_was_given_up_does_not_disturb_the_others(store: SharedStore) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    abandoned, kept = (asyncio.ensure_future(counters.take([charge()])) for _ in range(2))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert (await kept).admitted


async def test_a_dead_store_fails_everyone_who_waits(store: SharedStore, redis_server: RedisServer) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    await counters.take([charge()])
    redis_server.kill()
    failed = await asyncio.gather(*(counters.take([charge()]) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert not counters.available


async def test_one_consumer_can_be_given_its_rates_anew(store: SharedStore) -> None:
    counters = RedisCounters(store, algorithm="gcra")
    mine = [charge("a", 1, "project:p"), charge("b", 1, "project:p+user:u")]
    others = [charge("a", 1, "project:pp"), *(charge("a", 1, f"user:{number}") for number in range(2500))]
    await asyncio.gather(*(counters.take([one]) for one in (*mine, *others)))
    assert await counters.reset("project:p") == 2
    assert [(await counters.take([one])).admitted for one in (*mine, others[0])] == [True, True, False]


async def test_two_processes_with_different_prefixes_do_not_meet(redis_server: RedisServer) -> None:
    stores = [SharedStore(redis_server.url, timeout_seconds=5, prefix=prefix) for prefix in ("a:", "b:")]
    counters = [RedisCounters(store, algorithm="gcra") for store in stores]
    assert [(await one.take([charge(limit=1)])).admitted for one in counters] == [True, True]
    for store in stores:
        await store.close()
