"""Events that may repeat with every request: the first is logged at once, the rest as a number."""

from collections.abc import Callable
from typing import Any

from metaproxy.clock import Clock, monotonic

INTERVAL_SECONDS = 60.0
MAX_KINDS = 256


class Repeats:
    """Logs an event of one kind at most once in ``interval`` seconds, with how often it came since the last.

    Args:
        log: takes the event, such as ``logger.warning``.
        number: the field of the event that says how often it came.
    """

    def __init__(
        self,
        log: Callable[..., Any],
        *,
        interval: float = INTERVAL_SECONDS,
        number: str = "times",
        clock: Clock = monotonic,
    ) -> None:
        self._log = log
        self._interval = interval
        self._number = number
        self._clock = clock
        self._kinds: dict[tuple[str, ...], list[float]] = {}

    def log(self, event: str, kind: tuple[str, ...] = (), **fields: object) -> None:
        """Log ``event``, unless one of the same ``kind`` was logged within the interval."""
        now = self._clock()
        last = self._kinds.get(kind)
        if last is not None and now - last[0] < self._interval:
            last[1] += 1
            return
        if last is None and len(self._kinds) >= MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        times = 1 if last is None else int(last[1]) + 1
        self._kinds[kind] = [now, 0]
        self._log(event, **{self._number: times}, **fields)
