import asyncio

import pytest

from metaproxy.store.availability import Availability
from tests.filters.limiting import FakeClock


class Store:
    """A store that is there or not."""

    def __init__(self) -> None:
        self.there = False
        self.asked = 0

    async def answers(self) -> bool:
        self.asked += 1
        return self.there


@pytest.fixture
def store() -> Store:
    return Store()


async def test_a_store_is_available_until_it_fails(store: Store) -> None:
    availability = Availability("test", monotonic=FakeClock())
    states = [availability.available]
    availability.lose(OSError(), store.answers)
    states.append(availability.available)
    assert states == [True, False]
    await availability.close()


async def test_it_is_available_again_when_it_answers(store: Store) -> None:
    availability = Availability("test", monotonic=FakeClock())
    events: list[str] = []
    restored = asyncio.Event()
    availability.on_lost(lambda: events.append("lost"))
    availability.on_restored(lambda: events.append("restored"))
    availability.on_restored(restored.set)
    store.there = True
    availability.lose(OSError(), store.answers)
    await restored.wait()
    assert availability.available
    assert events == ["lost", "restored"]
    await availability.close()


async def test_many_failures_are_one_loss_and_one_task_asks(store: Store) -> None:
    availability = Availability("test", monotonic=FakeClock())
    losses: list[None] = []
    availability.on_lost(lambda: losses.append(None))
    for _ in range(10):
        availability.lose(OSError(), store.answers)
    assert len(losses) == 1
    assert len(availability._tasks) == 1
    await availability.close()
    assert len(availability._tasks) == 0


async def test_a_store_that_was_closed_stays_away(store: Store) -> None:
    availability = Availability("test", monotonic=FakeClock())
    await availability.close()
    availability.lose(OSError(), store.answers)
    assert not availability.available
    assert store.asked == 0
