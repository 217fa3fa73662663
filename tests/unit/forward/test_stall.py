import asyncio
from collections.abc import Callable
from typing import Any, cast

from metaproxy.forward.engine.stall import StallTimer


class Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.is_cancelled = when, callback, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """The two methods of an event loop that a StallTimer needs, with a clock of the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            if not timer.is_cancelled:
                timer.callback()
        self.now = end


class Watch:
    """A stall timer, and how often it has called."""

    def __init__(self) -> None:
        self.stalls = 0
        self.loop = Loop()
        self.timer = StallTimer(cast("asyncio.AbstractEventLoop", self.loop), self.stalled)

    def stalled(self) -> None:
        self.stalls += 1


def test_a_wait_without_progress_is_called_a_stall_once() -> None:
    watch = Watch()
    watch.timer.begin(5.0)

    watch.loop.advance(4.9)
    assert watch.stalls == 0
    watch.loop.advance(60.0)
    assert watch.stalls == 1


def test_progress_starts_the_wait_anew() -> None:
    watch = Watch()
    watch.timer.begin(5.0)

    for _ in range(10):
        watch.loop.advance(4.0)
        watch.timer.progress()
    assert watch.stalls == 0
    watch.loop.advance(5.0)
    assert watch.stalls == 1


def test_a_wait_that_has_ended_does_not_stall() -> None:
    watch = Watch()
    watch.timer.begin(5.0)
    watch.timer.end()
    watch.timer.progress()

    watch.loop.advance(60.0)

    assert watch.stalls == 0


def test_a_shorter_wait_than_the_last_is_noticed_in_time() -> None:
    watch = Watch()
    watch.timer.begin(60.0)
    watch.timer.end()
    watch.timer.begin(1.0)

    watch.loop.advance(1.0)

    assert watch.stalls == 1


def test_many_waits_share_one_timer() -> None:
    watch = Watch()

    for _ in range(100):
        watch.timer.begin(5.0)
        watch.timer.end()

    assert len(watch.loop.timers) == 1


def test_after_the_end_nothing_is_left() -> None:
    watch = Watch()
    watch.timer.begin(5.0)
    watch.timer.cancel()

    watch.loop.advance(60.0)

    assert watch.stalls == 0
    assert watch.loop.timers == []
