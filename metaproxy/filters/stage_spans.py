"""Times what each stage does with a request whose spans are sampled; only there where spans are made.

A stage calls the next one inside itself, so its time contains that of those after it, and its span is
their parent. A request that is not sampled passes through a plain call: no coroutine, no clock, a fifth of
a microsecond for each stage.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import SCOPE_KEY, Exchange, StageTime
from metaproxy.filters.stage import DecidingStage


class TimedStage:
    """An ASGI application around a stage.

    Reads and writes ``stages`` of the Exchange.

    Args:
        name: names the stage in its span.
        app: the stage.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, app: ASGIApp, *, clock: Clock = monotonic) -> None:
        self._name = name
        self._app = app
        self._clock = clock

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The ASGI interface."""
        exchange = scope.get(SCOPE_KEY)
        if exchange is None or exchange.stages is None:
            return self._app(scope, receive, send)
        return self._timed(exchange.stages, scope, receive, send)

    async def _timed(self, stages: list[StageTime], scope: Scope, receive: Receive, send: Send) -> None:
        time = StageTime(self._name, self._clock())
        stages.append(time)
        try:
            await self._app(scope, receive, send)
        finally:
            time.ended = self._clock()


class SampledTakeTheLine(DecidingStage):
    """The first stage of the fast lane where spans are made: a sampled request takes the line, whole.

    Args:
        app: the line from its first stage on.
        first: that stage, which decides about every other request.
    """

    def __init__(self, app: ASGIApp, first: DecidingStage) -> None:
        self.app = app
        self._first = first

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Let the line take what is sampled."""
        return not exchange.sampled and self._first.decide(exchange, scope)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on with the line."""
        await self.app(scope, receive, send)
