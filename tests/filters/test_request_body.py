import pytest
from starlette.types import Message, Receive, Scope, Send

from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import Upstream, body_of

CHUNKED = [("transfer-encoding", "chunked")]


class Reader:
    """An upstream that reads the body to its end; keeps what it got, and how reading ended."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.read = b""
        self.aborted = False
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._read(receive)
        except Exception as error:
            self.aborted = True
            if self._error is None:
                raise
            raise self._error from error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _read(self, receive: Receive) -> None:
        more = True
        while more:
            message: Message = await receive()
            self.read += message["body"]
            more = message["more_body"]


async def put(app: Reader | Upstream, size: int, headers: list[tuple[str, str]]) -> Answer:
    limit = RequestBodyLimit(app, max_bytes=10)
    return await drive(limit, "PUT", "/i", headers, [b"x"] * size or [b""])


@pytest.mark.parametrize("headers", [[("content-length", "10")], CHUNKED])
async def test_a_body_of_the_allowed_size_passes_whole(headers: list[tuple[str, str]]) -> None:
    reader = Reader()
    assert (await put(reader, 10, headers)).status == 200
    assert reader.read == b"x" * 10


async def test_a_request_without_a_body_passes() -> None:
    assert (await put(Reader(), 0, [])).status == 200


async def test_too_great_a_content_length_is_413_before_anything_is_forwarded() -> None:
    upstream = Upstream()
    answer = await put(upstream, 11, [("content-length", "11")])
    assert answer.status == 413
    assert answer.header("connection") == "close"
    assert answer.exchange.reason == "body_too_large"
    assert body_of(answer)["overLimit"]["message"] == "The request body is larger than the allowed 10 bytes."
    assert upstream.scopes == []


async def test_a_length_that_no_number_holds_is_413() -> None:
    upstream = Upstream()
    answer = await put(upstream, 11, [("content-length", "9" * 5000)])
    assert (answer.status, upstream.scopes) == (413, [])


@pytest.mark.parametrize("error", [None, OSError])
async def test_a_chunked_body_is_counted_and_the_upstream_request_is_ended(
    error: type[Exception] | None,
) -> None:
    reader = Reader(error)
    answer = await put(reader, 11, CHUNKED)
    assert answer.status == 413
    assert reader.aborted
    assert reader.read == b"x" * 10


async def test_a_chunked_length_beside_a_content_length_is_counted() -> None:
    answer = await put(Reader(), 11, [("content-length", "1"), *CHUNKED])
    assert answer.status == 413


async def test_a_body_over_http_2_needs_no_length_to_be_counted() -> None:
    app = RequestBodyLimit(Reader(), max_bytes=10)
    answer = await drive(app, "PUT", "/i", [], [b"x" * 11], {"http_version": "2"})
    assert answer.status == 413


async def test_errors_of_others_stay_what_they_are() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    answer = await drive(RequestBodyLimit(broken, max_bytes=10), "PUT", "/i", CHUNKED, [b"x"])
    assert answer.status == 500


async def test_refusals_are_counted() -> None:
    metrics = Metrics()
    app = RequestBodyLimit(Upstream(), max_bytes=1, metrics=metrics)
    await drive(app, "PUT", "/i", [("content-length", "2")], [b"xx"])
    assert metrics.counter("metaproxy_limit_refusals", "", ("limit",)).values == {("request_body",): 1.0}
