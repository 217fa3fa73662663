"""The Date field, made once a second, and instants in logs."""

from datetime import UTC, datetime
from email.utils import formatdate

from metaproxy.clock import Clock, wall


class DateField:
    """The current date as RFC 9110 §5.6.7 writes it; formatted again only when the second changes."""

    def __init__(self, clock: Clock = wall) -> None:
        self._clock = clock
        self._second = -1
        self._value = b""

    def __call__(self) -> bytes:
        """Return the field value for now."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode("ascii")
        return self._value


def timestamp(seconds: float) -> str:
    """Return an instant, in seconds since 1970, in ISO 8601: ``2026-01-31T12:00:00.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
