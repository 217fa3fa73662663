import asyncio

from metaproxy.server.stopping import SAME_SECONDS, Presses, Stopping


def test_signals_are_counted() -> None:
    now = 0.0
    presses = Presses(lambda: now)
    counts = []

    for _ in range(3):
        counts.append(presses.count())
        now += SAME_SECONDS

    assert counts == [1, 2, 3]


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    presses = Presses(lambda: 0.0)

    assert [presses.count(), presses.count()] == [1, 0]


async def test_the_first_signal_asks_for_the_end_and_breaks_nothing_off() -> None:
    broken_off: list[bool] = []
    stopping = Stopping(lambda: broken_off.append(True))

    stopping.signalled()

    async with asyncio.timeout(5):
        await stopping.asked.wait()
    assert broken_off == []
