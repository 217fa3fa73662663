"""The Date field, made once a second."""

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
