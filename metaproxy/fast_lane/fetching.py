"""A read that fills the cache: asked for without a task.

It leads a flight, as such a read on the line does, so that others may join; its answer is stored and
handed on when its last byte is there. A longer fetch goes on in tasks: one for the flight,
one for the read.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.cache.misses import Led
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.writing import Writer
from metaproxy.filters.trace import Trace
from metaproxy.protocol.headers import Header


class Fetching(Passing):
    """One such read; ``led`` is the flight."""

    def __init__(self, trace: Trace, writer: Writer, exchange: Exchange, scope: Scope, led: Led) -> None:
        super().__init__(trace, writer, exchange, scope)
        self._led = led

    def give_up(self) -> None:
        """The client has hung up. The flight goes on: it is not this client's alone."""
        if self.call is not None:
            self.call.left_by(self._exchange)
        self._led.leave()

    def answered(self, status: int, fields: list[Header], body: bytes) -> None:
        """The upstream's answer is complete."""
        try:
            fields = self._led.landed(status, fields, body)
        except Exception as error:  # noqa: BLE001 - the line tells it, to the client and to the log
            if not self.is_over:
                super().handed_over(Raising(error))
            return
        if not self.is_over:
            super().answered(status, fields, body)

    def handed_over(self, app: ASGIApp) -> None:
        """``app`` goes on with the flight."""
        self._led.fly(app)
        if not self.is_over:
            super().handed_over(self._led.serve)


class Raising:
    """An application that can only tell why there is no answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise the error."""
        raise self._error
