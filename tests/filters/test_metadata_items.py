import gzip
import json
from functools import partial
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.filters.metadata_items import MetadataItemLimit
from metaproxy.protocol.faults import Fault
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import DISCONNECT, Answer, drive
from tests.filters.limiting import Upstream, body_of

compress = partial(gzip.compress, mtime=0)
"""Without the time: the names of tests must be the same in each worker."""

COLLECTION = "/v2.1/p1/images/i1/metadata"
ITEM = f"{COLLECTION}/label"
XML = b"application/xml"


def document(items: int) -> bytes:
    return json.dumps({"metadata": {f"key{number}": "value" for number in range(items)}}).encode()


def xml_document(items: int) -> bytes:
    metas = "".join(f'<meta key="k{number}">v</meta>' for number in range(items))
    return f'<metadata xmlns="http://docs.openstack.org/compute/api/v1.1">{metas}</metadata>'.encode()


class Typed(Upstream):
    """An upstream that answers ``body`` as ``content_type``."""

    def __init__(self, body: bytes, content_type: bytes) -> None:
        super().__init__(body)
        self.headers = [(b"content-type", content_type)]


class Echo:
    """Answers with the body that it got."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


async def get(upstream: Any, path: str = COLLECTION, **options: Any) -> Answer:
    app = MetadataItemLimit(upstream, returned=3, held=2, **options)
    return await drive(app, "GET", path, [("accept-encoding", "gzip")])


async def write(
    method: str, body: list[bytes], content_type: str = "application/json"
) -> tuple[Answer, Echo]:
    echo = Echo()
    app = MetadataItemLimit(echo, returned=3, held=2)
    return await drive(app, method, COLLECTION, [("content-type", content_type)], body), echo


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (document(3), b"application/json", 200),
        (document(4), b"application/json", 413),
        (document(4), b"application/json; charset=UTF-8", 413),
        (xml_document(3), XML, 200),
        (xml_document(4), XML, 413),
        (document(3), b"text/plain", 200),
        (document(4), b"application/json; profile=xml", 413),
        (b"[]", b"application/json", 200),
        (b"<other/>", XML, 200),
        (b"", b"text/html", 200),
    ],
)
async def test_an_answer_of_too_many_items_is_413(body: bytes, content_type: bytes, status: int) -> None:
    answer = await get(Typed(body, content_type))
    assert answer.status == status
    if status == 200:
        assert answer.body == body
    else:
        assert "The number of items returned is above the allowed limit." in answer.body.decode()
        assert answer.exchange.reason == "items_exceeded"


@pytest.mark.parametrize("path", ["/images/1/metadata", "/v2/t/images/1/metadata.json", f"{COLLECTION}/"])
async def test_every_form_of_the_path_is_counted(path: str) -> None:
    assert (await get(Upstream(document(4)), path)).status == 413


@pytest.mark.parametrize("path", [ITEM, "/v2.1/p1/images/detail", "/v2.1/p1/servers/1/metadata"])
async def test_other_paths_pass_untouched(path: str) -> None:
    upstream = Upstream(document(4))
    assert (await get(upstream, path)).status == 200
    assert (b"accept-encoding", b"gzip") in upstream.scopes[0]["headers"]


async def test_a_collection_is_counted_whatever_template_has_named_the_request() -> None:
    named = Exchange("req-1", 0.0, route="/v2.1/p1/images/{picture}/**")
    app = MetadataItemLimit(Upstream(document(4)), returned=3)

    with pytest.raises(Fault) as refused:
        await drive(app, "GET", COLLECTION, scope_extra={SCOPE_KEY: named})

    assert refused.value.status == 413


async def test_a_part_is_not_asked_for_where_items_are_counted() -> None:
    upstream = Upstream(document(1))
    app = MetadataItemLimit(upstream, returned=3)

    await drive(app, "GET", COLLECTION, [("range", "bytes=0-9"), ("if-range", '"a"')])

    assert upstream.scopes[0]["headers"] == []


async def test_no_compression_is_asked_for_where_items_are_counted() -> None:
    upstream = Upstream(document(1))
    await get(upstream)
    assert upstream.scopes[0]["headers"] == []


async def test_an_answer_larger_than_its_items_could_be_is_413_before_it_is_whole() -> None:
    sent = 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            sent += 1
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})

    assert (await get(endless)).status == 413
    assert sent < 10


async def test_faults_of_the_upstream_pass() -> None:
    answer = await get(Upstream(document(4), status=404))
    assert (answer.status, answer.body) == (404, document(4))


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("body", "content_type"), [(document(3), "application/json"), (xml_document(3), "application/xml")]
)
async def test_a_write_of_too_many_items_is_413_and_never_forwarded(
    method: str, body: bytes, content_type: str
) -> None:
    answer, echo = await write(method, [body], content_type)
    assert answer.status == 413
    assert answer.exchange.reason == "metadata_items_exceeded"
    assert echo.requests == 0


async def test_an_allowed_write_reaches_the_upstream_whole() -> None:
    answer, _ = await write("PUT", [document(2)[:5], document(2)[5:]])
    assert answer.body == document(2)


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"{", "application/json", "the body is not JSON"),
        (document(1), "application/xml", "the body is not XML"),
        (xml_document(1), "application/json", "the body is not JSON"),
        (document(1), "application/json; charset=utf-7", "the charset is not known"),
        (document(1), "application/json, text/xml", "several media types are named"),
        pytest.param(b"[" * 70_000, "application/json", "the body is not JSON", id="large-7"),
    ],
)
async def test_a_write_that_cannot_be_counted_is_400_and_never_forwarded(
    method: str, body: bytes, content_type: str, why: str
) -> None:
    answer, echo = await write(method, [body], content_type)

    message = f"The metadata items cannot be counted: {why}."
    assert (answer.status, json.loads(answer.body)) == (
        400,
        {"badRequest": {"code": 400, "message": message}},
    )
    assert answer.exchange.reason == "metadata_uncountable"
    assert echo.requests == 0


async def test_a_write_with_no_body_is_left_to_the_upstream() -> None:
    answer, _ = await write("PUT", [b""])
    assert (answer.status, answer.body) == (200, b"")


async def test_a_compressed_write_is_counted_and_forwarded_as_it_came() -> None:
    app = MetadataItemLimit(Echo(), held=2)
    fields = [("content-type", "application/json"), ("content-encoding", "gzip")]

    allowed = await drive(app, "PUT", COLLECTION, fields, [compress(document(2))])
    refused = await drive(app, "PUT", COLLECTION, fields, [compress(document(3))])
    unknown = await drive(app, "PUT", COLLECTION, [("content-encoding", "br")], [document(1)])

    assert (allowed.status, gzip.decompress(allowed.body)) == (200, document(2))
    assert (refused.status, unknown.status) == (413, 400)


@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (compress(document(3)), [(b"content-encoding", b"gzip")], 200),
        (compress(document(4)), [(b"content-encoding", b"gzip")], 413),
        (compress(b" " * 5_000_000), [(b"content-encoding", b"gzip")], 413),
        (document(3), [(b"content-encoding", b"br")], 502),
        (document(3), [(b"content-encoding", b"gzip")], 502),
        (document(3), [(b"content-type", b"application/xml")], 502),
        (b"no json", [(b"content-type", b"application/json")], 502),
        (b"<broken", [(b"content-type", b"application/xml")], 502),
        (b"<html></html>", [(b"content-type", b"text/html")], 502),
        (document(3), [(b"content-type", b"application/json"), (b"content-type", b"text/xml")], 502),
    ],
)
async def test_an_answer_that_cannot_be_counted_is_502(
    body: bytes, fields: list[tuple[bytes, bytes]], status: int
) -> None:
    upstream = Upstream(body)
    upstream.headers = fields

    answer = await get(upstream)

    assert answer.status == status
    if status == 200:
        assert answer.body == body
    if status == 502:
        assert answer.exchange.reason == "items_uncountable"


async def test_a_write_larger_than_its_items_could_be_is_413_and_closes() -> None:
    answer, _ = await write("PUT", [b" " * 50_000] * 3)
    assert (answer.status, answer.header("connection")) == (413, "close")


async def test_a_client_that_hangs_up_while_it_writes_gets_nothing() -> None:
    app = MetadataItemLimit(Echo(), held=2)
    part = {"type": "http.request", "body": b"{", "more_body": True}
    answer = await drive(app, "PUT", COLLECTION, messages=[part, DISCONNECT])
    assert answer.status == 0
    assert answer.exchange.reason == "client_disconnected"


async def test_limits_that_are_off_count_nothing() -> None:
    app = MetadataItemLimit(Upstream(document(9)))
    assert (await drive(app, "GET", COLLECTION)).status == 200


async def test_refusals_are_counted_by_limit() -> None:
    metrics = Metrics()
    answer = await get(Upstream(document(4)), metrics=metrics)
    assert body_of(answer)["overLimit"]["code"] == 413
    assert metrics.counter("metaproxy_limit_refusals", "", ("limit",)).values == {("items_returned",): 1.0}
