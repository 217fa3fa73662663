"""The line: checks, asked one after the other, and then an origin that answers.

The place in the list is kept in the Exchange. So a request that must wait goes on where it was, and no
check is asked twice about one request.
"""

from collections.abc import Awaitable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.asgi import Stage, carry_out
from metaproxy.check import Check
from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import SCOPE_KEY, Exchange, StageTime
from metaproxy.verdicts import PASS, Verdict, Wait


class Line(Stage):
    """Checks and an origin as one ASGI application.

    Reads and writes ``place`` and ``stages`` of the Exchange.

    Args:
        checks: in the order in which they are asked, each with its name in a trace. Neighbours of one name
            are one span.
        origin: answers a request that every check lets pass.
    """

    def __init__(
        self, checks: Sequence[tuple[str, Check]], origin: ASGIApp, *, clock: Clock = monotonic
    ) -> None:
        self.app = origin
        self.checks = tuple([check for _, check in checks])
        self._names = [name for name, _ in checks]
        self._decisions = [check.decide for check in self.checks]
        self._clock = clock

    def go_on(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Ask the checks from the place where ``exchange`` is, up to the first that does not let it pass."""
        stages = exchange.stages
        for place in range(exchange.place, len(self._decisions)):
            if stages is not None:
                self._begin(stages, self._names[place])
            verdict = self._decisions[place](exchange, scope)
            if verdict is not PASS:
                exchange.place = place + 1
                return verdict
        exchange.place = len(self._decisions)
        return PASS

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the checks, and let the origin answer if all let the request pass."""
        await self.resume(self.go_on(exchange, scope), exchange, scope, receive, send)

    async def resume(
        self, verdict: Verdict, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Go on with a request about which ``go_on`` has returned ``verdict``."""
        while isinstance(verdict, Wait):
            verdict = await verdict
            if verdict is PASS:
                verdict = self.go_on(exchange, scope)
        await carry_out(verdict, self.app, exchange, scope, receive, send)

    def _begin(self, stages: list[StageTime], name: str) -> None:
        """Note when a stage began. It lasts as long as the request, as do all that came before it."""
        if not stages or stages[-1].name != name:
            stages.append(StageTime(name, self._clock()))


class TimedStage:
    """An ASGI application around a stage, whose times it writes into ``stages`` of the Exchange.

    A stage calls the next one inside itself, so its time contains that of those after it, and its span is
    their parent. A request whose spans are not sampled passes through a plain call: no coroutine, no clock, a
    fifth of a microsecond for each stage.
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
