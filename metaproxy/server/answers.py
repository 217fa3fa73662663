"""The answers of one client connection, in the order of the requests, and how the last one ends it.

Facts this file rests on. A request that is refused while those before it are unanswered waits for them, or
its refusal would be taken for theirs (RFC 9112 §9.3.2). Octets behind the last are not processed (§9.6).
"""

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.types import ASGIApp, Scope

from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.fast_lane.passing import Passing
from metaproxy.protocol import faults
from metaproxy.protocol.faults import Fault
from metaproxy.request_id import new_request_id
from metaproxy.server.deadlines import Deadlines
from metaproxy.server.edge import Edge
from metaproxy.server.flow import Flow
from metaproxy.server.reading import HEAD, Reader
from metaproxy.server.turns import AppTurn


class Answers:
    """Gives each request its turn, refuses what is not a request, and closes after the last answer.

    Args:
        reader: reads the requests; it is stopped where no further one is answered.
        deadlines: begin to count again when everything is answered.
        linger: closes the connection when the client has read the last answer.
    """

    def __init__(
        self,
        flow: Flow,
        *,
        edge: Edge,
        reader: Reader,
        deadlines: Deadlines,
        address: str,
        linger: Callable[[], None],
        tasks: set["asyncio.Task[None]"],
    ) -> None:
        self.current: AppTurn | Passing | None = None
        """The request that is worked on; None if every request is answered."""
        self.refusal: Fault | None = None
        """The refusal of the octets after the last request, once all requests are answered."""
        self._waiting: deque[AppTurn] = deque()
        """Requests that wait for the answers to those before them."""
        self._transport = flow.transport
        self._flow = flow
        self._edge = edge
        self._reader = reader
        self._deadlines = deadlines
        self._address = address
        self._linger = linger
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    @property
    def newest(self) -> AppTurn | Passing | None:
        """The request that was read last, if it is not answered."""
        return self._waiting[-1] if self._waiting else self.current

    @property
    def has_room(self) -> bool:
        """True if another request may wait after the next one."""
        return len(self._waiting) + 1 < self._edge.limits.max_pipelined

    def write(self, answer: bytes, *, keep_alive: bool) -> None:
        """Write the whole answer of the request whose turn it is."""
        if self._transport.is_closing():
            return
        if keep_alive:
            self._edge.outbox.write(self._transport, answer, self._loop)
        else:
            self._edge.outbox.flush()
            self._transport.write(answer)
        self._completed(keep_alive=keep_alive)

    def pass_on(self, passing: Passing, *, keep_alive: bool, more_body: bool) -> None:
        """Wait for ``passing`` to answer the request whose turn it is."""
        passing.answers, passing.keep_alive, passing.more_body = self, keep_alive, more_body
        self.current = passing
        if passing.task is not None:
            self._tasks.add(passing.task)
            passing.task.add_done_callback(self._tasks.discard)

    def take_over(self, passing: Passing, app: ASGIApp) -> None:
        """Let ``app`` go on with the request of ``passing``, in a task."""
        taken = self._app_turn(app, passing.scope, keep_alive=passing.keep_alive)
        taken.disconnected = self._transport.is_closing()
        if not passing.more_body:
            taken.request_read()
        self.current = taken
        taken.start()

    def run(self, app: ASGIApp, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        """Let ``app`` answer a request, after those before it."""
        turn = self._app_turn(app, scope, keep_alive=keep_alive, expects_continue=expects_continue)
        if self.current is None:
            self.current = turn
            turn.start()
            return
        # An application that waits for the client to leave reads on. Without one, reading must not stop.
        if not isinstance(self.current, Passing):
            self._flow.pause_reading()
        self._waiting.append(turn)

    def refuse(self, fault: Fault) -> None:
        """Answer what cannot become a request, after those before it, and close; nothing more is read.

        Break off if it is the body of the current request.
        """
        if self.refusal is not None or self._transport.is_closing():
            return
        self.refusal = fault
        self._reader.stop()
        if self._waiting and self._waiting[-1].more_body:
            self._waiting.pop()
        if self.current is None:
            self._write_refusal(fault)
        elif self.current.more_body:
            self._break_off(self.current, fault)

    def give_reason(self, reason: str) -> Exchange | None:
        """Note why the request that is worked on will not be answered; return its Exchange."""
        exchange: Exchange | None = self.current.scope.get(SCOPE_KEY) if self.current is not None else None
        if exchange is not None:
            exchange.reason = reason
        return exchange

    def client_left(self) -> None:
        """Stop what is answered to nobody: the connection is gone, and is not held any more."""
        del self._linger
        self._waiting.clear()
        if self.current is not None:
            self.current.client_left()
        self._flow.resume_writing()

    def _app_turn(
        self, app: ASGIApp, scope: Scope, *, keep_alive: bool, expects_continue: bool = False
    ) -> AppTurn:
        return AppTurn(
            app,
            scope,
            flow=self._flow,
            tasks=self._tasks,
            completed=self._turn_completed,
            keep_alive=keep_alive,
            expects_continue=expects_continue,
        )

    def _turn_completed(self) -> None:
        if self.current is not None:
            self._completed(keep_alive=self.current.keep_alive)

    def _completed(self, *, keep_alive: bool) -> None:
        """Go on after the answer to the current request: with the next one, with a refusal, or close."""
        answered, self.current = self.current, None
        if self._transport.is_closing():
            return
        if not keep_alive:
            self._end(receives=answered is not None and answered.more_body)
        else:
            if self._flow.read_paused:
                self._flow.resume_reading()
            if self._waiting:
                self.current = self._waiting.popleft()
                self.current.start()
            elif self.refusal is not None:
                self._write_refusal(self.refusal)
            elif self._reader.state is not HEAD:
                self._deadlines.wait_for_request(self._loop.time())

    def _end(self, *, receives: bool) -> None:
        """Close after the last answer, so that a client that still sends can read it."""
        reader = self._reader
        has_more = reader.sends_on or reader.state is HEAD or self._flow.is_held
        sends_on = has_more or receives or bool(self._waiting)
        self._waiting.clear()
        reader.stop()
        if sends_on:
            self._linger()
        else:
            self._transport.close()

    def _write_refusal(self, fault: Fault) -> None:
        exchange = Exchange(request_id=new_request_id(), started=self._loop.time(), outcome="refused")
        exchange.client_address, exchange.reason = self._address, fault.reason
        body_bytes = self._say_and_close(fault, exchange.request_id)
        self._edge.record.ended(exchange, "other", "", fault.status, body_bytes, 0.0)

    def _break_off(self, turn: AppTurn | Passing, fault: Fault) -> None:
        """End a request that is worked on; the application records it, with our reason."""
        exchange = self.give_reason(fault.reason)
        if turn.response_started:
            self._flow.reset()
            return
        turn.client_left()
        self._say_and_close(fault, exchange.request_id if exchange is not None else new_request_id())

    def _say_and_close(self, fault: Fault, request_id: str) -> int:
        body = faults.render(fault, faults.JSON)
        self._edge.outbox.flush()
        self._transport.write(self._edge.refusal(fault, request_id, body))
        self._linger()
        return len(body)
