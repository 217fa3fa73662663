"""A client connection's ways to an answer: from memory, passed on without a task, or along the line.

Which of them a request takes is the fast lane's decision; here its outcome is written, in the order of the
requests.
"""

import asyncio
from typing import Any

from metaproxy.fast_lane.passing import Passing
from metaproxy.server.cycle import Cycle
from metaproxy.server.edge import ANSWERED, EdgeLimits, Lane
from metaproxy.server.refusing import RefusingProtocol
from metaproxy.server.waiting import WaitingCycle

AnyASGI = Any
"""An ASGI application: uvicorn and starlette each have types of their own for the same thing."""


class AnsweringProtocol(RefusingProtocol):
    """One client connection, as far as requests on it are answered."""

    limits: EdgeLimits
    deadline: float = 0.0
    """When what is waited for is too late (the loop's seconds); 0 for never."""
    address: str = ""
    """The client's, or "" for a peer without one."""
    _leaving: bool = False

    def _repeated(self, octets: bytes) -> bool:
        """Let the fast lane answer a request that came as these very octets before."""
        lane = self._open_lane()
        if lane is None or self._leaving:
            return False
        answer = lane.repeat(octets, self.address, self.scheme or "")
        if answer is None:
            return False
        if not isinstance(answer, bytes):
            self._wait_for(answer, more_body=False)
            self.deadline = 0.0
            return True
        self.cycle = ANSWERED
        self.edge.outbox.write(self.transport, answer, self.loop)
        # Nothing was paused, no request waits: what is left of the end of an answer.
        self.server_state.total_requests += 1
        self.deadline = self.loop.time() + self.limits.idle_seconds
        return True

    def _answered_at_once(self, octets: bytes, *, keep_alive: bool) -> AnyASGI | None:
        """Let the fast lane answer; return the application that must be asked where it has not."""
        lane = self._open_lane()
        if lane is None:
            return self.app
        scope: Any = self.scope
        answer = lane.answer(scope, keep_alive=keep_alive, octets=octets)
        if isinstance(answer, bytes):
            self.cycle = self.running = ANSWERED
            self._write_answer(answer, keep_alive=keep_alive)
        elif isinstance(answer, Passing):
            self._wait_for(answer, more_body=True)
        else:
            return answer
        return None

    def _wait_for(self, passing: Passing, *, more_body: bool) -> None:
        waiting: Any = WaitingCycle(self, passing)
        waiting.more_body = more_body
        self.cycle = self.running = waiting

    def write_passed(self, waiting: WaitingCycle, answer: bytes) -> None:
        """Write the whole answer of a request that was passed on without a task."""
        if not self.transport.is_closing():
            self._write_answer(answer, keep_alive=waiting.keep_alive)

    def take_over(self, waiting: WaitingCycle, app: AnyASGI) -> None:
        """Let a task go on with a request that was passed on without one."""
        cycle = self._new_cycle(waiting.scope, keep_alive=waiting.keep_alive)
        cycle.more_body, cycle.disconnected = waiting.more_body, self.transport.is_closing()
        current: Any = self.cycle
        if current is waiting:
            self.cycle = cycle
        self._start_asgi_task(cycle, app)

    def _open_lane(self) -> Lane | None:
        """The fast lane, unless an earlier answer or a slow reader is in the way."""
        busy = self.cycle is not None and not self.cycle.response_complete
        return None if busy or self.flow.write_paused else self.edge.fast_lane

    def _write_answer(self, answer: bytes, *, keep_alive: bool) -> None:
        if keep_alive:
            self.edge.outbox.write(self.transport, answer, self.loop)
        else:
            self.edge.outbox.flush()
            self.transport.write(answer)
            self.end_answered()
        self.on_response_complete()

    def _take_the_line(self, app: AnyASGI, *, keep_alive: bool) -> None:
        before = self.cycle
        self.cycle = self._new_cycle(self.scope, keep_alive=keep_alive)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            # Pipelined: answered when those before it are. Where a task works on one, it reads on to see
            # whether the client has left; where none does, reading must not stop.
            if not isinstance(self.running, WaitingCycle):
                self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _new_cycle(self, scope: Any, *, keep_alive: bool) -> Cycle:
        return Cycle(
            loop=self.loop,
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            # RFC 9110 §10.1.1: nobody who speaks HTTP/1.0 waits for it, or would know it.
            expect_100_continue=self.expect_100_continue and scope.get("http_version") != "1.0",
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
            end=self.end_answered,
        )
