"""A client connection on which a request can be refused before, or while, the line works on it."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.protocol import faults
from metaproxy.protocol.faults import Fault
from metaproxy.request_id import new_request_id
from metaproxy.server.edge import Edge


class RefusingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with refusals in the API's own words: counted, logged, the connection closed."""

    edge: Edge
    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    """The request being answered; None before the first, whatever uvicorn's annotation says."""

    def refuse(self, fault: Fault) -> None:
        """Answer what never became a request, and close; break off where an answer is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._break_off(self.cycle, fault)
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
        else:
            self._write_refusal(fault, exchange.request_id if exchange is not None else new_request_id())

    def _write_refusal(self, fault: Fault, request_id: str) -> bytes:
        body = faults.render(fault, faults.JSON)
        self.edge.outbox.flush()
        self.transport.write(self.edge.refusal(fault, request_id, body))
        self.transport.close()
        return body
