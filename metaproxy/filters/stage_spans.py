"""Times what each stage does with a request whose spans are sampled; only there where spans are made.

A stage calls the next one inside itself, so its time contains that of those after it, and its span is
their parent. A request that is not sampled passes through a plain call: no coroutine, no clock, a fifth of
a microsecond for each stage.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import SCOPE_KEY, StageTime


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
