"""What every answer carries is said once: each writer of heads takes it from there."""

from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from metaproxy.fast_lane.writing import Writer
from metaproxy.filters.trace import Trace
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header
from metaproxy.protocol.signature import Signature
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.requests import RequestRecord
from tests.asgi_driver import drive

DATE = DateField(lambda: 0.0)


class Marked(Signature):
    """A signature with one more field."""

    def fields(self, version: str = "1.1") -> Sequence[Header]:
        """Return the fields with a mark."""
        return [*super().fields(version), (b"x-mark", b"m")]


MARKED = Marked(b"1.1 here")


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_an_answer_of_an_application_carries_the_signature() -> None:
    answer = await drive(Trace(nothing, signature=MARKED), "GET", "/")
    assert (answer.header("via"), answer.header("x-mark")) == ("1.1 here", "m")


def test_an_answer_without_a_task_carries_the_signature_and_the_version_of_the_upstream() -> None:
    answer = Writer(MARKED, DATE).whole(b"", "req-1", b"", is_dated=True, keep_alive=True, version="1.0")
    assert answer == b"via: 1.0 here\r\nx-mark: m\r\nx-compute-request-id: req-1\r\n\r\n"


def test_a_refusal_of_what_is_no_request_carries_the_signature() -> None:
    edge = Edge(EdgeLimits(), MARKED, RequestRecord(Metrics()), DATE)
    answer = edge.refusal(Fault(400, "No.", reason="odd"), "req-1", b"")
    assert b"via: 1.1 here\r\nx-mark: m\r\nx-compute-request-id: req-1\r\n" in answer
    assert answer.endswith(b"connection: close\r\n\r\n")
