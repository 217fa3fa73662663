"""A request that waits for what something outside the process must say: a store of counters, or identity.

Behind the wait it goes on as any other does: it is answered from memory, or passed on. The wait itself takes
a task only if the question cannot be sent without one.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import ASGIApp, Scope

from metaproxy.exchange import Exchange
from metaproxy.fast_lane.fetching import Raising
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.writing import Writer
from metaproxy.filters.trace import Trace
from metaproxy.tasks import TaskSet
from metaproxy.verdicts import PASS, Settled, Verdict, Wait


class Settle(Protocol):
    """Does what the checks have come to."""

    def __call__(self, verdict: Settled, *, keep_alive: bool) -> bytes | Passing | ASGIApp:
        """Return the whole answer, or what will give it."""


class Asking(Passing):
    """One such request.

    Args:
        trace, writer, exchange, scope: see ``Passing``.
        go_on: asks what is left to ask when a wait has let the request pass.
        settle: is called when everything has been asked.
        tasks: holds the tasks of waits.
    """

    def __init__(
        self,
        trace: Trace,
        writer: Writer,
        exchange: Exchange,
        scope: Scope,
        *,
        go_on: Callable[[], Verdict],
        settle: Settle,
        tasks: TaskSet,
    ) -> None:
        super().__init__(trace, writer, exchange, scope)
        self._go_on = go_on
        self._settle = settle
        self._tasks = tasks
        self._has_left = False

    def begin(self, wait: Wait) -> None:
        """Ask, and go on when the verdict is there."""
        if not wait.send(self._replied):
            self.task = self._tasks.start(self._await(wait), name="wait of a request")
            self.task.add_done_callback(self._end_if_cancelled)

    def client_left(self) -> None:
        """The client has hung up. The reply decides all the same, and the request is recorded."""
        self._has_left = True

    async def _await(self, wait: Wait) -> None:
        try:
            verdict = await wait
        except Exception as error:  # noqa: BLE001 - the line logs it, tells the client, and ends the request
            self.handed_over(Raising(error))
        else:
            self._resume(verdict)

    def _end_if_cancelled(self, task: "asyncio.Task[None]") -> None:
        """End the request if ``task`` was cancelled, perhaps before its first step: then it ran nothing."""
        if task.cancelled():
            self._exchange.outcome, self._exchange.reason = "aborted", "shutdown"
            self._end(0, 0)

    def _replied(self, verdict_of: Callable[..., Verdict], *args: Any) -> None:
        try:
            verdict = verdict_of(*args)
        except Exception as error:  # noqa: BLE001 - as above
            self.handed_over(Raising(error))
        else:
            self._resume(verdict)

    def _resume(self, verdict: Verdict) -> None:
        try:
            if verdict is PASS:
                verdict = self._go_on()
            if isinstance(verdict, Wait):
                self.begin(verdict)
                return
            answer = self._settle(verdict, keep_alive=self.keep_alive)
        except Exception as error:  # noqa: BLE001 - as above
            self.handed_over(Raising(error))
            return
        if isinstance(answer, bytes):
            self._let_go()
            if not self._has_left:
                self.answers.write(answer, keep_alive=self.keep_alive)
        elif isinstance(answer, Passing):
            answer.ended = self.ended
            self.answers.pass_on(answer, keep_alive=self.keep_alive, more_body=self.more_body)
            if self._has_left:
                answer.client_left()
        else:
            self.take_the_line(answer)
