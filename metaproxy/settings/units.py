"""Durations, sizes, percentages and rates as an operator writes them, and back again.

Every parser takes the YAML value and raises ValueError with a sentence that shows how the value is
written. Numbers without a unit are refused: ``timeout: 5`` means seconds to one reader and
milliseconds to the next. Only ``0`` needs none.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from metaproxy.settings import hints
from metaproxy.settings.written import NotWrittenSo, Written

DURATION_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
RATE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

LONGEST_SECONDS = 365 * 86400
"""A year: sums of it and the clock stay exact in a float, and every timer of asyncio and uvloop takes it."""
SHORTEST_SECONDS = 0.001
"""The resolution of uvloop's timers; below it a period would be a busy loop."""
LARGEST_SIZE = 1024 * 1024**3
MOST_PER_SECOND = 1_000_000
"""Counters count in microseconds."""

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(rf"({_NUMBER})({'|'.join(DURATION_UNITS)})")
_SIZE = re.compile(rf"([0-9]{{1,15}})({'|'.join(SIZE_UNITS)})")
_PERCENT = re.compile(rf"({_NUMBER})%")
_RATE = re.compile(rf"([0-9]{{1,15}})/({'|'.join(RATE_UNITS)})")


HEURISTIC = "heuristic"


def parse_duration(value: object) -> float:
    """Return the seconds of ``500ms``, ``10s``, ``5m``, ``1h`` or ``1d``."""
    if _is_zero(value):
        return 0.0
    if (found := _match(_DURATION, value)) is None:
        raise NotWrittenSo(
            "a duration has a number and a unit: 500ms, 10s, 5m, 1h, 1d", hints.duration(value)
        )
    seconds = float(Decimal(found[1]) * DURATION_UNITS[found[2]])
    if seconds > LONGEST_SECONDS:
        raise NotWrittenSo("must be at most 365d")
    return seconds


def parse_lifetime(value: object) -> float | None:
    """Return the seconds of a duration; None for ``heuristic``."""
    return None if value == HEURISTIC else parse_duration(value)


def format_lifetime(seconds: float | None) -> str:
    """Return what ``parse_lifetime`` reads back."""
    return HEURISTIC if seconds is None else format_duration(seconds)


def parse_positive_duration(value: object) -> float:
    """Return the seconds of a duration that may not be zero."""
    if (seconds := parse_duration(value)) == 0:
        raise ValueError("must be longer than 0s")
    if seconds < SHORTEST_SECONDS:
        raise NotWrittenSo("must be at least 1ms")
    return seconds


def format_duration(seconds: float) -> str:
    """Return ``seconds`` in the largest unit that needs no fraction; ``parse_duration`` reads it back."""
    exact = Decimal(repr(seconds))
    for unit, length in reversed(DURATION_UNITS.items()):
        if exact >= length and exact % length == 0:
            return f"{exact / length:.0f}{unit}"
    return f"{exact.normalize():f}s"


def parse_size(value: object) -> int:
    """Return the bytes of ``512B``, ``64KiB``, ``1MiB`` or ``2GiB``."""
    if _is_zero(value):
        return 0
    if (found := _match(_SIZE, value)) is None:
        raise NotWrittenSo("a size is a whole number and a unit: 512B, 64KiB, 1MiB, 2GiB", hints.size(value))
    size = int(found[1]) * SIZE_UNITS[found[2]]
    if size > LARGEST_SIZE:
        raise NotWrittenSo("must be at most 1024GiB")
    return size


def parse_positive_size(value: object) -> int:
    """Return the bytes of a size that may not be zero."""
    if (size := parse_size(value)) == 0:
        raise ValueError("must be more than 0B")
    return size


def format_size(size: int) -> str:
    """Return ``size`` in the largest unit that divides it; ``parse_size`` reads it back."""
    for unit, length in reversed(SIZE_UNITS.items()):
        if size >= length and size % length == 0:
            return f"{size // length}{unit}"
    return "0B"


def parse_percent(value: object) -> float:
    """Return ``10%`` as 0.1; from 0 % to 100 %."""
    if _is_zero(value):
        return 0.0
    found = _match(_PERCENT, value)
    if found is None or Decimal(found[1]) > 100:
        raise NotWrittenSo("a share is written from 0% to 100%: 10%", hints.percent(value))
    return float(Decimal(found[1]) / 100)


def format_percent(share: float) -> str:
    """Return 0.1 as ``10%``; ``parse_percent`` reads it back."""
    return f"{(Decimal(repr(share)) * 100).normalize():f}%"


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests per unit of time: ``1000/minute``."""

    limit: int
    unit: str

    @property
    def period_seconds(self) -> int:
        """The length of the unit in seconds."""
        return RATE_UNITS[self.unit]

    def __str__(self) -> str:
        return f"{self.limit}/{self.unit}"


def parse_rate(value: object) -> Rate:
    """Return ``N/second``, ``N/minute``, ``N/hour`` or ``N/day`` as a Rate."""
    rate = _rate(value)
    if rate is None or rate.limit < 1 or rate.unit not in RATE_UNITS:
        raise NotWrittenSo(
            "a rate is a number from 1 on and a unit: 10/second, 1000/minute, 5000/hour, 100000/day",
            hints.rate(value),
        )
    if rate.limit > MOST_PER_SECOND * rate.period_seconds:
        raise NotWrittenSo(f"must be at most {MOST_PER_SECOND * rate.period_seconds}/{rate.unit}")
    return rate


def _match(pattern: re.Pattern[str], value: object) -> re.Match[str] | None:
    return pattern.fullmatch(value.strip()) if isinstance(value, str) else None


def _rate(value: object) -> Rate | None:
    if isinstance(value, Rate):
        return value
    found = _match(_RATE, value)
    return None if found is None else Rate(int(found[1]), found[2])


def _is_zero(value: object) -> bool:
    return value == "0" or (isinstance(value, int) and not isinstance(value, bool) and value == 0)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_SECONDS:
        raise NotWrittenSo(f"a duration is a number of seconds from 0 to {LONGEST_SECONDS}, or text: 10s")
    return float(value)


def _positive_seconds(value: object) -> float:
    seconds = _seconds(value)
    return seconds if seconds >= SHORTEST_SECONDS else parse_positive_duration("0s")


def _bytes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIZE:
        raise NotWrittenSo(f"a size is a number of bytes from 1 to {LARGEST_SIZE}, or text: 64KiB")
    return value


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise NotWrittenSo("a share is a number from 0 to 1, or text: 10%")
    return float(value)


Duration = Annotated[
    float, Written("duration", parse_duration, format_duration, _DURATION.pattern, "10s", _seconds)
]
Lifetime = Annotated[
    float | None,
    Written(
        "duration-or-heuristic",
        parse_lifetime,
        format_lifetime,
        rf"{_DURATION.pattern}|{HEURISTIC}",
        "10s",
        lambda value: None if value is None else _seconds(value),
    ),
]
PositiveDuration = Annotated[
    float,
    Written(
        "duration", parse_positive_duration, format_duration, _DURATION.pattern, "10s", _positive_seconds
    ),
]
Size = Annotated[int, Written("size", parse_positive_size, format_size, _SIZE.pattern, "64KiB", _bytes)]
Percent = Annotated[float, Written("percent", parse_percent, format_percent, _PERCENT.pattern, "10%", _share)]
RequestRate = Annotated[Rate, Written("rate", parse_rate, str, _RATE.pattern, "1000/minute")]
