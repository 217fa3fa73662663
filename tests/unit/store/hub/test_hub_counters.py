"""Counters in the hub of a supervisor."""

import asyncio
import random

import pytest

from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.lending import Slice
from metaproxy.protocol.limits.settings import OnStoreFailure, Sharing
from metaproxy.store.counters import Charge, Metered, Return, SendingMeter, Taken, Wish
from metaproxy.store.hub.counters import COUNTERS_A_MESSAGE
from metaproxy.store.hub.hub import Hub
from metaproxy.store.hub.messages import Beat
from metaproxy.store.hub.rated import LONGEST_KEY
from metaproxy.store.leases import Leases
from metaproxy.store.ledger import Ledger
from metaproxy.store.unavailable import StoreUnavailable
from tests.filters.limiting import FakeClock
from tests.unit.store.charges import charge
from tests.unit.store.hub.supervised import SECONDS, Supervisor, Worker, supervised
from tests.unit.store.waiting import until

ALGORITHMS = pytest.mark.parametrize("algorithm", ["gcra", "fixed-window"])


@ALGORITHMS
async def test_workers_together_are_admitted_as_often_as_the_limit(algorithm: str) -> None:
    async with supervised(2) as (_, workers):
        one = charge(limit=5, algorithm=algorithm)
        taken = [await worker.counters.take([one]) for worker in workers * 4]
    assert [each.admitted for each in taken] == [True] * 5 + [False] * 3


@ALGORITHMS
async def test_one_counter_without_room_leaves_all_uncharged(algorithm: str) -> None:
    async with supervised(1) as (_, [worker]):
        wide, narrow = charge("wide", 10, algorithm=algorithm), charge("narrow", 1, algorithm=algorithm)
        await worker.counters.take([wide, narrow])
        refused = await worker.counters.take([wide, narrow])
    assert not refused.admitted
    assert 0 < refused.states[0][0] <= wide.rule.policy.weight


@ALGORITHMS
async def test_the_hub_lends_and_takes_back_as_the_ledger_does(algorithm: str) -> None:
    clock = FakeClock()
    hub, ledger = Supervisor(Hub(monotonic=clock)), Ledger(monotonic=clock)
    worker = Worker(hub.hub)
    hub.serve()
    await worker.start()
    chance = random.Random(7)
    charges = [
        charge(f"r{number}", limit, period_seconds=period, algorithm=algorithm)
        for number, (limit, period) in enumerate([(3000, 1), (400, 60), (90, 60)])
    ]
    out: list[tuple[Charge, Slice, Slice]] = []
    lent = 0
    for _ in range(300):
        clock.advance(chance.choice([0.0, 0.001, 0.2]))
        chosen = chance.sample(charges, chance.randint(1, 3))
        wishes = [chance.choice([0, 7, 60]) for _ in chosen]

        taken = await worker.counters.take(chosen, wishes)
        known = ledger.take([each.counter for each in chosen], 1, wishes)

        assert (taken.admitted, [*taken.states]) == (known.admitted, known.states)
        for each, ours, theirs in zip(chosen, taken.slices, known.slices, strict=bool(known.slices)):
            assert (ours and ours.requests) == (theirs and theirs.requests)
            if ours and theirs:
                out.append((each, ours, theirs))
                lent += 1
        if out and chance.random() < 0.5:
            each, ours, theirs = out.pop()
            some = Wish(each.counter, 20)
            told = await worker.counters.exchange([Return(each.counter, ours.mark, 2, 1)], [some])
            same = ledger.exchange([Return(each.counter, theirs.mark, 2, 1)], [some])
            assert (told.lent[0].state, told.now) == (same.lent[0].state, same.now)
    await worker.close()
    hub.close()
    assert lent > 10


async def test_an_exchange_of_more_counters_than_a_message_has_takes_several() -> None:
    async with supervised(1) as (_, [worker]):
        wishes = [Wish(charge(f"r{n}", 100).counter, 10) for n in range(2 * COUNTERS_A_MESSAGE + 1)]
        exchanged = await worker.counters.exchange([], wishes)
    assert [each.slice.requests for each in exchanged.lent if each.slice] == [10] * len(wishes)


async def test_looking_charges_nothing_and_a_charge_can_be_taken_back() -> None:
    async with supervised(1) as (_, [worker]):
        one = charge()
        await worker.counters.take([one])
        standing = await worker.counters.peek([one])
        await worker.counters.give_back([one])
        after = await worker.counters.peek([one])
    assert 0 < standing.states[0][0] <= one.rule.policy.weight
    assert after.states[0][0] == 0


@pytest.mark.parametrize("name", ["r", "long" * 200])
async def test_one_consumer_can_be_given_its_rates_anew(name: str) -> None:
    async with supervised(2) as (_, [first, second]):
        key = charge().key.replace("r@", f"{name}@")
        mine, other = (
            charge(consumer=consumer)._replace(key=key.replace("project:p", consumer))
            for consumer in ("project:p", "project:q")
        )
        for each in (mine, other):
            await first.counters.take([each])
        removed = await second.counters.reset("project:p")
        left = [(await first.counters.peek([each])).states[0][0] > 0 for each in (mine, other)]
    assert (removed, left) == (1, [False, True])


async def test_two_long_keys_are_two_counters() -> None:
    async with supervised(1) as (_, [worker]):
        keys = [f"r@1:60:0/{'x' * LONGEST_KEY}{letter}/project:p" for letter in "ab"]
        taken = [await worker.counters.take([charge(limit=1)._replace(key=key)]) for key in keys]
    assert [each.admitted for each in taken] == [True, True]


async def test_while_the_supervisor_hangs_nobody_waits_twice_and_then_it_is_asked_again() -> None:
    async with supervised(1, timeout_seconds=0.05) as (supervisor, [worker]):
        supervisor.pause()
        with pytest.raises(StoreUnavailable, match="has not answered"):
            await worker.counters.take([charge()])
        with pytest.raises(StoreUnavailable, match="has not answered"):
            worker.client.ask(Beat())  # at once: it returns no future
        was_available = worker.counters.available

        supervisor.serve()

        await until(lambda: worker.counters.available, SECONDS)
        assert (await worker.counters.take([charge("other")])).admitted
    assert not was_available


@pytest.mark.parametrize(
    ("on_store_failure", "expected"),
    [("local", [True, True, False]), ("allow", [True, True, True]), ("deny", [False, False, False])],
)
@pytest.mark.parametrize("sharing", ["exact", "leased"])
async def test_rates_fail_as_configured_while_the_supervisor_hangs(
    on_store_failure: OnStoreFailure, sharing: Sharing, expected: list[bool]
) -> None:
    one = charge(limit=2)
    async with supervised(1, timeout_seconds=0.05) as (supervisor, [worker]):
        rates = Rates([], shared=worker.counters, sharing=sharing, on_store_failure=on_store_failure)
        supervisor.pause()
        verdicts = [rates.take([one]) or await rates.take_shared([one]) for _ in range(3)]
        await rates.close()
    assert [isinstance(verdict, Taken) and verdict.admitted for verdict in verdicts] == expected


async def test_a_worker_that_dies_costs_at_most_its_slices_until_their_lives_end() -> None:
    clock = FakeClock()
    supervisor = Supervisor(Hub(monotonic=clock))
    first, second = Worker(supervisor.hub), Worker(supervisor.hub)
    supervisor.serve()
    for worker in (first, second):
        await worker.start()
    one = charge(limit=600)  # ten a second
    leases = Leases(first.counters, monotonic=clock)
    await leases.take([one])
    await leases.take([one])  # the second request borrows
    lent = (await second.counters.peek([one])).states[0][0] // one.rule.policy.weight - 2

    await first.close()  # without a word: the slices are not given back
    admitted = 0
    while (await second.counters.take([one])).admitted:
        admitted += 1
    clock.advance(61.0)
    later = await second.counters.peek([one])

    assert lent > 0
    assert admitted == 600 - 2 - lent
    assert later.states[0][0] == 0
    await second.close()
    supervisor.close()


async def test_no_more_is_admitted_than_the_rule_allows_whatever_is_borrowed() -> None:
    clock = FakeClock()
    supervisor = Supervisor(Hub(monotonic=clock))
    workers = [Worker(supervisor.hub) for _ in range(3)]
    supervisor.serve()
    for worker in workers:
        await worker.start()
    rates = [Rates([], shared=worker.counters, sharing="leased", monotonic=clock) for worker in workers]
    one = charge(limit=500)
    admitted = 0
    for turn in range(1500):
        each = rates[turn % 3]
        taken = each.take([one]) or await each.take_shared([one])
        admitted += isinstance(taken, Taken) and taken.admitted
        await asyncio.sleep(0)  # exchanges go on
    for each in rates:
        await each.close()
    for worker in workers:
        await worker.close()
    supervisor.close()
    assert 400 < admitted <= 500


async def sent(meter: SendingMeter) -> Metered | None:
    """Ask with the question that is packed; None also if that takes a task."""
    reply = asyncio.get_running_loop().create_future()
    return meter.taken(await reply) if meter.send(reply.set_result) else None


@ALGORITHMS
async def test_a_question_that_is_sent_charges_what_one_that_is_awaited_does(algorithm: str) -> None:
    async with supervised(2) as (_, [one, other]):
        thing = charge(limit=3, period_seconds=3600, algorithm=algorithm)
        await one.counters.take([thing])
        taken = [await sent(worker.counters.meter(thing)) for worker in (one, other, one)]
        awaited = await one.counters.peek([thing])
    assert [each and each[0] for each in taken] == [True, True, False]
    assert taken[-1] is not None
    assert abs(awaited.states[0][0] - taken[-1][1][0]) <= thing.rule.policy.weight


async def test_a_question_is_not_sent_to_a_supervisor_that_is_gone_and_has_no_answer_if_it_goes() -> None:
    supervisor = Supervisor()
    worker = await Worker(supervisor.hub).start()
    asked = asyncio.ensure_future(sent(worker.counters.meter(charge())))
    await asyncio.sleep(0)
    supervisor.close()
    assert await asked is None
    assert not worker.counters.meter(charge()).send(lambda _reply: None)
    await worker.close()
