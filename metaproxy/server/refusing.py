"""A client connection on which a request can be refused before, or while, the line works on it.

Facts this file rests on. Answers come in the order of the requests (RFC 9112 §9.3.2): a request that is
refused while those before it are unanswered must wait for them, or its refusal would be taken for theirs.
What follows the last request that is taken, or one that is refused, is no request any more (§9.6).
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.protocol import faults
from metaproxy.protocol.faults import Fault
from metaproxy.request_id import new_request_id
from metaproxy.server.edge import Edge
from metaproxy.server.lingering import linger


class ParsingEnded(Exception):
    """Raised inside the parser's callbacks: nothing that follows is read as HTTP."""


class RefusingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with refusals in the API's own words: counted, logged, the connection closed."""

    edge: Edge
    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    """The request read last; None before the first, whatever uvicorn's annotation says."""
    running: RequestResponseCycle | None = None
    """The request that the line worked on last."""
    refused: Fault | None = None
    last_request_read: bool = False
    """No request follows; one whose body is still coming is read to its end."""
    sends_on: bool = False
    """Octets have come after the last request."""

    def refuse(self, fault: Fault) -> None:
        """Answer what cannot become a request, after those before it, and close; nothing more is read.

        Where it is the request being answered whose body fails, break off.
        """
        if self.refused is not None or self.transport.is_closing():
            return
        self.refused, self.last_request_read = fault, True
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()  # its body is what fails
        if not self._has_unanswered():
            self.end_refused(fault)

    def _has_unanswered(self) -> bool:
        """Say whether requests that came whole wait for their answers."""
        running = self.running
        return running is not None and not (running.response_complete or running.more_body)

    def end_refused(self, fault: Fault) -> None:
        """Write the refusal, now that nothing stands before it, and close."""
        if self.running is not None and not self.running.response_complete:
            self._break_off(self.running, fault)
            return
        exchange = Exchange(request_id=new_request_id(), started=self.loop.time(), outcome="refused")
        exchange.client_address = self.client[0] if self.client else ""
        exchange.reason = fault.reason
        body = self._write_refusal(fault, exchange.request_id)
        self.edge.record.ended(exchange, "other", "", fault.status, len(body), 0.0)

    def _break_off(self, cycle: RequestResponseCycle, fault: Fault) -> None:
        """End a request that the line is working on; the line records it, with our reason."""
        exchange: Exchange | None = cycle.scope.get(SCOPE_KEY)  # type: ignore[assignment] # ours
        if exchange is not None:
            exchange.reason = fault.reason
        if cycle.response_started:
            self.transport.abort()
            return
        cycle.waiting_for_100_continue = False
        _tell_of_disconnect(cycle)
        self._write_refusal(fault, exchange.request_id if exchange is not None else new_request_id())

    def _write_refusal(self, fault: Fault, request_id: str) -> bytes:
        body = faults.render(fault, faults.JSON)
        self.edge.outbox.flush()
        self.transport.write(self.edge.refusal(fault, request_id, body))
        linger(self, self.edge)
        return body

    def end_answered(self) -> None:
        """Close after the last answer; a client that still sends shall be able to read it."""
        if self.sends_on or self.pipeline or (self.running is not None and self.running.more_body):
            linger(self, self.edge)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for the request that is worked on and for those that wait for it."""
        super().connection_lost(exc)
        self.pipeline.clear()
        if self.running is not None and not self.running.response_complete:
            _tell_of_disconnect(self.running)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)


def _tell_of_disconnect(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()
