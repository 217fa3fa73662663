"""Guesses at what an operator wants who writes a value as other programs take it: ``10MB`` is ``10MiB`` here.

Each function takes the value that was refused and returns the text to write, or "" without a guess.
"""

import re
from decimal import Decimal, InvalidOperation

_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_PART = re.compile(rf"{_NUMBER}\s*([a-zµ]+)")

_MILLISECONDS = {
    **dict.fromkeys(("us", "µs", "usec"), Decimal("0.001")),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), Decimal(1)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Decimal(1000)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Decimal(60_000)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Decimal(3_600_000)),
    **dict.fromkeys(("d", "day", "days"), Decimal(86_400_000)),
    **dict.fromkeys(("w", "week", "weeks"), Decimal(604_800_000)),
}
_WHOLE = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_RATE = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "second"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "minute"),
    **dict.fromkeys(("h", "hr", "hour", "hours"), "hour"),
    **dict.fromkeys(("d", "day", "days"), "day"),
}


def duration(value: object) -> str:
    """``1h30m`` is ``90m``, ``5 sec`` is ``5s``, ``1w`` is ``7d``."""
    text = value.strip().lower() if isinstance(value, str) else ""
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip() or any(unit not in _MILLISECONDS for _, unit in parts):
        return ""
    total = sum(Decimal(number) * _MILLISECONDS[unit] for number, unit in parts)
    if total != int(total):
        return ""
    return next((f"{int(total) // length}{unit}" for unit, length in _WHOLE if total % length == 0), "")


def size(value: object) -> str:
    """``10MB``, ``10M``, ``10 mb`` and ``10Mi`` are ``10MiB``; ``1.5GiB`` is ``1536MiB``."""
    text = value.strip().lower() if isinstance(value, str) else ""
    found = re.fullmatch(rf"{_NUMBER}\s*([kmgt]?)(?:i?b?|bytes?)", text)
    if found is None or not (found[2] or text.endswith(("b", "byte", "bytes"))):
        return ""
    power = " kmgt".index(found[2]) if found[2] else 0
    number = Decimal(found[1])
    while power > 3 or (number != int(number) and power):
        number, power = number * 1024, power - 1
    return f"{int(number)}{('B', 'KiB', 'MiB', 'GiB')[power]}" if number == int(number) else ""


def rate(value: object) -> str:
    """``10/s``, ``10r/s`` and ``10 per second`` are ``10/second``."""
    text = value.strip().lower() if isinstance(value, str) else ""
    found = re.fullmatch(r"([1-9][0-9]{0,11})\s*(?:r|req|requests?)?\s*(?:/|per)\s*([a-z]+)", text)
    return f"{found[1]}/{_RATE[found[2]]}" if found and found[2] in _RATE else ""


def percent(value: object) -> str:
    """``0.1`` is ``10%``, and so is ``10 %``."""
    try:
        number = Decimal(str(value).removesuffix("%").strip())
    except InvalidOperation:
        return ""
    if not number.is_finite() or isinstance(value, bool):
        return ""
    if not str(value).endswith("%"):
        number *= 100 if number <= 1 else 1
    return f"{number.normalize():f}%" if 0 <= number <= 100 else ""
