"""Messages among the workers of a supervisor."""

import asyncio
from collections.abc import Callable

from metaproxy.clock import monotonic
from tests.unit.store.hub.supervised import SECONDS, Worker, supervised
from tests.unit.store.waiting import until


class Listener:
    """A subscription that notes what it is told."""

    def __init__(self, worker: Worker, channel: str = "news") -> None:
        self.received: list[bytes] = []
        self.lost = 0
        self.confirmed: list[float] = []
        self.unsubscribe: Callable[[], None] = worker.broadcast.subscribe(
            channel, self.received.append, self._note_loss, self.confirmed.append
        )

    def _note_loss(self) -> None:
        self.lost += 1

    async def until_confirmed(self) -> None:
        """Return when the hub sends the messages of the channel."""
        moment = monotonic()
        await until(lambda: any(each >= moment for each in self.confirmed) or bool(self.confirmed), SECONDS)


async def test_a_message_reaches_every_worker_that_subscribes_the_sender_included() -> None:
    async with supervised(3) as (_, workers):
        first, second = Listener(workers[0]), Listener(workers[1])
        other = Listener(workers[2], "weather")
        for each in (first, second, other):
            await each.until_confirmed()

        reached = await workers[0].broadcast.publish("news", b"one")

        await until(lambda: bool(first.received and second.received), SECONDS)
    assert (reached, first.received, second.received, other.received) == (2, [b"one"], [b"one"], [])


async def test_a_confirmation_comes_after_all_that_was_published_before() -> None:
    async with supervised(2, lease_seconds=0.2) as (_, [one, two]):
        listener = Listener(two)
        await listener.until_confirmed()
        for number in range(100):
            await one.broadcast.publish("news", b"%d" % number)
        moment = monotonic()
        await until(lambda: listener.confirmed[-1] >= moment, SECONDS)
    assert len(listener.received) == 100


async def test_a_worker_that_unsubscribes_is_not_counted_any_more() -> None:
    async with supervised(2) as (_, [one, two]):
        listener, other = Listener(two), Listener(two)
        await listener.until_confirmed()
        await other.until_confirmed()
        listener.unsubscribe()
        still = await one.broadcast.publish("news", b"")
        other.unsubscribe()
        await two.broadcast.publish("news", b"")  # behind the end of the subscription
        reached = await one.broadcast.publish("news", b"")
    assert (still, reached) == (1, 0)


async def test_a_dead_worker_is_not_counted_any_more() -> None:
    async with supervised(2) as (_, [one, two]):
        await Listener(two).until_confirmed()
        await two.close()

        async with asyncio.timeout(SECONDS):
            while await one.broadcast.publish("news", b""):
                await asyncio.sleep(0.01)


async def test_a_subscriber_learns_that_the_supervisor_hangs_and_that_it_is_back() -> None:
    async with supervised(1, lease_seconds=0.1) as (supervisor, [worker]):
        listener = Listener(worker)
        await listener.until_confirmed()
        losses = listener.lost
        supervisor.pause()
        await until(lambda: listener.lost > losses, SECONDS)
        confirmed = len(listener.confirmed)

        supervisor.serve()

        await until(lambda: len(listener.confirmed) > confirmed, SECONDS)


async def test_a_subscriber_learns_that_the_supervisor_is_gone() -> None:
    async with supervised(1) as (supervisor, [worker]):
        listener = Listener(worker)
        await listener.until_confirmed()
        losses = listener.lost

        supervisor.close()

        await until(lambda: listener.lost > losses, SECONDS)
        assert worker.client.ended.is_set()


async def test_a_supervisor_that_hangs_is_away_although_no_request_asks_it_anything() -> None:
    async with supervised(1, timeout_seconds=0.05, lease_seconds=0.05) as (supervisor, [worker]):
        await Listener(worker).until_confirmed()
        supervisor.pause()
        await until(lambda: not worker.client.available, SECONDS)

        supervisor.serve()

        await until(lambda: worker.client.available, SECONDS)
