"""The last application of the line, driven with ASGI messages, over a transport of each kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import pytest

from metaproxy.exchange import SCOPE_KEY, ClientDisconnected, Exchange
from metaproxy.forward.breaker import BreakerPolicy
from metaproxy.forward.errors import ConnectionReset, NameNotResolved, TLSFailed
from metaproxy.forward.health import HealthPolicy
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.protocol.faults import Fault
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import DISCONNECT, Answer, Message, drive, make_scope
from tests.unit.forward.scripted import OK, Peer, answers, upstream

PATH = "/v2.1/images/70a599e0-31e7-49b7-b260-868f441e862b/metadata/label"

Respond = Callable[[httpx.Request], httpx.Response]


class Targets(httpx.AsyncBaseTransport):
    """Upstreams by host name: each answers, or raises what it is told to, and counts what it was asked."""

    def __init__(self, **behaviours: Respond | Exception) -> None:
        self.behaviours = behaviours
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        behaviour = self.behaviours[request.url.host]
        if isinstance(behaviour, Exception):
            raise behaviour
        return behaviour(request)


class Streamed(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        self.is_closed = True


def fine(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-length": "2"}, stream=Streamed(b"ok"))


def responds(status: int, headers: Any, *chunks: bytes, error: Exception | None = None) -> Respond:
    return lambda _: httpx.Response(status, headers=headers, stream=Streamed(*chunks, error=error))


def forward_to(transport: httpx.AsyncBaseTransport, *names: str, **options: Any) -> Forward:
    return Forward(transport, targets=[f"http://{name}" for name in names or ("a",)], **options)


async def ask(
    forward: Forward,
    method: str = "GET",
    path: str = PATH,
    headers: Iterable[tuple[str, str]] = (),
    body: Iterable[bytes] = (b"",),
    **options: Any,
) -> Answer:
    exchange = Exchange(request_id="req-1", started=0.0, scheme="http")
    return await drive(forward, method, path, headers, body, {SCOPE_KEY: exchange}, **options)


def bodies(answer: Answer) -> list[tuple[bytes, bool]]:
    return [
        (message["body"], message["more_body"])
        for message in answer.messages
        if message["type"] == "http.response.body"
    ]


# What goes through


async def test_the_answer_is_the_upstreams() -> None:
    fields = [("Vary", "A"), ("X-Compute-Request-Id", "req-9"), ("Vary", "B"), ("Content-Length", "2")]

    answer = await ask(forward_to(Targets(a=responds(203, fields, b"ok"))))

    assert (answer.status, answer.body) == (203, b"ok")
    assert answer.headers == [
        (b"vary", b"A"),
        (b"x-compute-request-id", b"req-9"),
        (b"vary", b"B"),
        (b"content-length", b"2"),
    ]


async def test_the_exchange_tells_who_answered() -> None:
    answer = await ask(forward_to(Targets(a=responds(200, {"x-compute-request-id": "req-9"}))))

    assert answer.exchange.upstream == "http://a"
    assert answer.exchange.upstream_request_id == "req-9"
    assert answer.exchange.waits["upstream"] >= 0.0


async def test_the_exchange_tells_how_long_was_waited_in_vain() -> None:
    now = 10.0
    exchange = Exchange(request_id="req-1", started=0.0)

    def time_out(request: httpx.Request) -> httpx.Response:
        nonlocal now
        now += 30.0
        raise httpx.ReadTimeout("")

    forward = forward_to(Targets(a=time_out), clock=lambda: now)
    with pytest.raises(Fault):
        await drive(forward, "GET", PATH, scope_extra={SCOPE_KEY: exchange})

    assert exchange.waits == {"upstream": 30.0}


class Slow:
    """A client that takes three seconds for every message; each is a piece of its body, or what to raise."""

    def __init__(self, *messages: Any) -> None:
        self.now = 10.0
        self.messages = list(messages)

    async def receive(self) -> Message:
        self.now += 3.0
        message = self.messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return {"type": "http.request", "body": b"o", "more_body": bool(self.messages), **message}


async def waits_of(client: Slow, upstream_reads: Callable[[httpx.Request], Any]) -> dict[str, float]:
    """Return what a PUT of ``client`` has waited for whose upstream answers a second after it has read."""
    exchange = Exchange(request_id="req-1", started=0.0)

    class Reading(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await upstream_reads(request)
            client.now += 1.0
            return httpx.Response(204, stream=Streamed())

    async def send(message: Any) -> None:
        """Take the answer."""

    scope = make_scope("PUT", PATH, [("content-length", "2")], {SCOPE_KEY: exchange})
    with contextlib.suppress(ClientDisconnected, Fault):
        await forward_to(Reading(), clock=lambda: client.now)(scope, client.receive, send)
    assert exchange.upstream == "http://a"
    return exchange.waits


async def test_the_upstream_is_not_waited_for_while_the_client_sends_its_body() -> None:
    waits = await waits_of(Slow({}, {}), lambda request: request.aread())

    assert waits == {"upstream": 1.0}


@pytest.mark.parametrize(
    "last",
    [{"type": "http.disconnect"}, Fault(413, "too large", reason="body_too_large")],
    ids=["leaves", "sends too much"],
)
async def test_an_upload_that_breaks_off_has_not_waited_for_the_upstream(last: Any) -> None:
    waits = await waits_of(Slow({}, last), lambda request: request.aread())

    assert waits == {"upstream": 0.0}


async def test_an_upstream_that_answers_early_was_not_waited_for_while_the_client_was_slow() -> None:
    async def first_piece(request: httpx.Request) -> None:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        await anext(aiter(request.stream))

    waits = await waits_of(Slow({}, {}), first_piece)

    assert waits == {"upstream": 1.0}


async def test_a_body_of_known_length_ends_with_its_last_byte() -> None:
    answer = await ask(forward_to(Targets(a=responds(200, {"content-length": "6"}, b"one", b"two"))))

    assert bodies(answer) == [(b"one", True), (b"two", False)]


async def test_a_body_of_unknown_length_passes_in_its_chunks() -> None:
    answer = await ask(forward_to(Targets(a=responds(200, {}, b"one", b"two"))))

    assert bodies(answer) == [(b"one", True), (b"two", True), (b"", False)]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 200)])
async def test_an_answer_without_body_is_complete_at_once(method: str, status: int) -> None:
    length = "30" if method == "HEAD" or status == 304 else "0"

    forward = forward_to(Targets(a=responds(status, {"content-length": length})))
    answer = await ask(forward, method, headers=[("if-none-match", "*")])

    assert bodies(answer) == [(b"", False)]


async def test_a_304_that_was_not_asked_for_is_asked_again_of_another_target() -> None:
    targets = Targets(a=responds(304, {}), b=responds(200, {}, b"ok"))

    answer = await ask(forward_to(targets, "a", "b"))

    assert (answer.status, answer.body) == (200, b"ok")


async def test_the_response_is_closed_whatever_happens() -> None:
    broken = Streamed(b"half", error=ConnectionReset(""))
    forward = forward_to(Targets(a=lambda _: httpx.Response(200, stream=broken)))

    with pytest.raises(Fault):
        await ask(forward)

    assert broken.is_closed


# How it fails


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (httpx.ConnectError(""), 502, "upstream_refused"),
        (httpx.ReadTimeout(""), 504, "upstream_read_timeout"),
        (httpx.PoolTimeout(""), 503, "upstream_pool_timeout"),
    ],
)
async def test_no_answer_becomes_a_fault(error: Exception, status: int, reason: str) -> None:
    with pytest.raises(Fault) as raised:
        await ask(forward_to(Targets(a=error), retries=0))

    assert (raised.value.status, raised.value.reason) == (status, reason)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (responds(200, {}, b"half", error=ConnectionReset("")), "upstream_reset"),
        (responds(200, {"content-length": "9"}, b"half"), "upstream_truncated"),
        (responds(200, {"content-length": "3"}, b"half"), "upstream_invalid"),
    ],
)
async def test_half_an_answer_never_looks_like_a_whole_one(respond: Respond, reason: str) -> None:
    seen: list[Message] = []

    async def on_send(message: Message) -> None:
        seen.append(message)

    with pytest.raises(Fault) as raised:
        await ask(forward_to(Targets(a=respond)), on_send=on_send)

    assert raised.value.reason == reason
    assert all(message.get("more_body", True) for message in seen)


async def test_a_length_that_is_no_number_is_found_before_the_answer_begins() -> None:
    with pytest.raises(Fault) as raised:
        await ask(forward_to(Targets(a=responds(200, {"content-length": "2x"}, b"ok"))))

    assert raised.value.reason == "upstream_invalid"


async def test_other_than_http_is_not_forwarded() -> None:
    async def unused(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ValueError, match="websocket"):
        await forward_to(Targets(a=fine))({"type": "websocket"}, unused, unused)


# Retries


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "error", [httpx.ConnectError(""), httpx.ReadTimeout(""), httpx.RemoteProtocolError("")]
)
async def test_a_safe_request_is_sent_to_another_target(method: str, error: Exception) -> None:
    transport = Targets(a=error, b=error, c=fine)
    forward = forward_to(transport, "a", "b", "c", retries=2)

    answer = await ask(forward, method)

    assert answer.status == 200
    assert answer.exchange.upstream == "http://c"
    assert transport.asked[-1] == "c"
    assert len(set(transport.asked)) == len(transport.asked)


async def test_a_broken_connection_to_the_only_target_is_tried_again() -> None:
    transport = Targets(a=ConnectionReset(""))

    with pytest.raises(Fault):
        await ask(forward_to(transport, retries=1))

    assert transport.asked == ["a", "a"]


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), httpx.PoolTimeout("")]
)
async def test_what_the_only_target_would_do_again_is_not_tried_again(error: Exception) -> None:
    transport = Targets(a=error)

    with pytest.raises(Fault):
        await ask(forward_to(transport, retries=3))

    assert transport.asked == ["a"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_that_changes_something_is_sent_once(method: str) -> None:
    transport = Targets(a=httpx.ReadError(""), b=httpx.ReadError(""))

    with pytest.raises(Fault):
        await ask(forward_to(transport, "a", "b"), method)

    assert len(transport.asked) == 1


@pytest.mark.parametrize(
    "error", [httpx.ConnectError(""), httpx.ConnectTimeout(""), TLSFailed(""), NameNotResolved("")]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_that_never_reached_its_target_goes_to_another_whatever_its_method(
    method: str, error: Exception
) -> None:
    transport = Targets(a=error, b=fine)
    forward = forward_to(transport, "a", "b", breaker=BreakerPolicy(failures=1000))

    for _ in range(4):
        answer = await ask(forward, method, headers=[("content-length", "1")], body=[b"x"])

        assert (answer.status, answer.exchange.upstream) == (200, "http://b")
    assert "a" in transport.asked


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_not_tried_again_at_the_only_target(method: str) -> None:
    transport = Targets(a=httpx.ConnectError(""))

    with pytest.raises(Fault):
        await ask(forward_to(transport, "a"), method)

    assert transport.asked == ["a"]


async def test_a_request_with_a_body_is_sent_once() -> None:
    transport = Targets(a=httpx.ReadError(""), b=httpx.ReadError(""))

    with pytest.raises(Fault):
        await ask(forward_to(transport, "a", "b"), headers=[("content-length", "1")], body=[b"x"])

    assert len(transport.asked) == 1


async def test_an_answer_that_has_begun_is_not_started_again() -> None:
    broken = responds(200, {}, b"half", error=ConnectionReset(""))
    transport = Targets(a=broken, b=broken)

    with pytest.raises(Fault):
        await ask(forward_to(transport, "a", "b"))

    assert len(transport.asked) == 1


async def test_retries_stay_inside_their_budget() -> None:
    transport = Targets(a=ConnectionReset(""))
    forward = forward_to(transport, retries=1, breaker=BreakerPolicy(failures=1000), clock=lambda: 0.0)

    for _ in range(100):
        with pytest.raises(Fault):
            await ask(forward)

    # A fifth of the requests, and one that is free.
    assert 100 + 18 <= len(transport.asked) <= 100 + 21


async def test_an_unsendable_request_is_the_clients_fault_and_not_repeated() -> None:
    transport = Targets(a=httpx.LocalProtocolError(""), b=httpx.LocalProtocolError(""))

    with pytest.raises(Fault) as raised:
        await ask(forward_to(transport, "a", "b"))

    assert raised.value.status == 400
    assert len(transport.asked) == 1


# Breaker and balance


async def test_a_failing_target_is_left_alone_until_one_request_finds_it_well() -> None:
    now = 0.0
    transport = Targets(a=httpx.ReadTimeout(""))
    forward = forward_to(
        transport, breaker=BreakerPolicy(failures=2, window=10.0, open_for=5.0), clock=lambda: now
    )
    for _ in range(2):
        with pytest.raises(Fault):
            await ask(forward)

    with pytest.raises(Fault) as refused:
        await ask(forward)
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
    assert len(transport.asked) == 2

    now = 5.0
    transport.behaviours["a"] = fine
    assert (await ask(forward)).status == 200
    assert (await ask(forward)).status == 200


async def test_a_target_that_fails_its_checks_is_asked_last() -> None:
    transport = Targets(a=responds(503, {}), b=fine)
    forward = forward_to(
        transport, "a", "b", health=HealthPolicy(path="/", interval=0.001, unhealthy_after=1)
    )
    await forward.start()
    while forward.targets[0].health.is_healthy:
        await asyncio.sleep(0)
    await forward.close()
    transport.asked.clear()

    for _ in range(4):
        await ask(forward)

    assert transport.asked == ["b"] * 4


async def test_requests_go_to_the_least_busy_target() -> None:
    go_on = asyncio.Event()
    asked: list[str] = []

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.host)
            await go_on.wait()
            return fine(request)

    forward = forward_to(Slow(), "a", "b", "c")
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(ask(forward))
        while len(asked) < 6:
            await asyncio.sleep(0)
        go_on.set()

    assert sorted(asked) == ["a", "a", "b", "b", "c", "c"]


# The client


async def test_a_client_that_hangs_up_ends_the_upstreams_request() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()
    transport = UpstreamTransport(connect_timeout=60)

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        forward = Forward(transport, targets=[compute.origin])
        with pytest.raises(ClientDisconnected):
            await ask(forward, messages=[DISCONNECT])
        await closed.wait()
        assert forward.targets[0].busy == 0
        await forward.close()


async def test_a_client_that_hangs_up_in_the_middle_of_the_answer_ends_the_upstreams_request() -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        forward = Forward(UpstreamTransport(connect_timeout=60), targets=[compute.origin])
        with pytest.raises(ClientDisconnected):
            await ask(forward, messages=[DISCONNECT])
        await closed.wait()
        await forward.close()


async def test_a_client_that_hangs_up_in_its_own_body_ends_the_upstreams_request() -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        forward = Forward(UpstreamTransport(connect_timeout=60), targets=[compute.origin])
        begun = {"type": "http.request", "body": b"abc", "more_body": True}
        with pytest.raises(ClientDisconnected):
            await ask(forward, "PUT", headers=[("content-length", "9")], messages=[begun, DISCONNECT])
        await closed.wait()
        await forward.close()


async def test_a_server_that_says_disconnect_after_a_complete_answer_means_no_harm() -> None:
    watched = asyncio.Event()
    answered = asyncio.Event()

    class SlowToClose(Streamed):
        async def aclose(self) -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            self.is_closed = True

    stream = SlowToClose(b"ok")

    class Watched(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await watched.wait()
            return httpx.Response(200, headers={"content-length": "2"}, stream=stream)

    async def receive() -> Message:
        watched.set()
        await answered.wait()
        return DISCONNECT

    async def send(message: Any) -> None:
        if not message.get("more_body", True):
            answered.set()

    scope = make_scope("GET", PATH, (), {SCOPE_KEY: Exchange(request_id="req-1", started=0.0)})
    await forward_to(Watched())(scope, receive, send)

    assert answered.is_set()
    assert stream.is_closed


# Transports


@pytest.mark.parametrize("make", [UpstreamTransport, httpx.AsyncHTTPTransport])
async def test_the_upstream_gets_the_request_as_it_came(make: Callable[[], httpx.AsyncBaseTransport]) -> None:
    path = "/v2.1/a%2Fb/%C3%BC/..;/x?limit=%20&marker=a+b&&=#"

    async with upstream(answers(OK)) as compute:
        forward = Forward(make(), targets=[compute.origin], via=b"1.1 metaproxy")
        answer = await ask(
            forward,
            path=path,
            headers=[("host", "compute.example"), ("x-b", "2"), ("x-a", "1"), ("x-b", "3")],
        )
        await forward.close()

        assert (answer.status, answer.body) == (200, b"ok")
        lines = compute.heads[0].lower().split(b"\r\n")
        assert lines[0] == b"get " + path.lower().encode() + b" http/1.1"
        assert lines[1:6] == [
            b"host: compute.example",
            b"x-b: 2",
            b"x-a: 1",
            b"x-b: 3",
            b"via: 1.1 metaproxy",
        ]


@pytest.mark.parametrize("make", [UpstreamTransport, httpx.AsyncHTTPTransport])
@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (("content-length", "6"), b"onetwo"),
        (("transfer-encoding", "chunked"), b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_is_framed_as_it_came(
    make: Callable[[], httpx.AsyncBaseTransport], framing: tuple[str, str], sent: bytes
) -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.reader.readexactly(len(sent)))
        await peer.send(OK)

    async with upstream(script) as compute:
        forward = Forward(make(), targets=[compute.origin])
        answer = await ask(forward, "PUT", headers=[framing], body=[b"one", b"two"])
        await forward.close()

    assert answer.status == 200
    assert bodies == [sent]


async def test_any_other_transport_fits() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"path": request.url.path}))

    answer = await ask(forward_to(transport))

    assert (answer.status, answer.body) == (200, b'{"path":"/"}')


# Metrics


def shown(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


async def test_requests_are_counted_by_target_and_outcome() -> None:
    metrics = Metrics()
    forward = forward_to(Targets(a=httpx.ConnectError(""), b=responds(404, {})), "a", "b", metrics=metrics)

    await ask(forward)
    await ask(forward)

    numbers = shown(metrics)
    assert numbers["metaproxy_upstream_requests_total", "http://b", "4xx"] == 2
    assert numbers["metaproxy_upstream_requests_total", "http://a", "upstream_refused"] == 1
    assert numbers["metaproxy_upstream_retries_total", "http://a"] == 1
    assert numbers["metaproxy_upstream_seconds_count", "http://b"] == 2


async def test_breakers_and_health_are_shown() -> None:
    metrics = Metrics()
    forward = forward_to(
        Targets(a=httpx.ReadTimeout(""), b=fine),
        "a",
        "b",
        metrics=metrics,
        breaker=BreakerPolicy(failures=1, window=1.0, open_for=9.0),
    )

    for _ in range(2):
        await ask(forward)

    numbers = shown(metrics)
    assert numbers["metaproxy_upstream_breaker", "http://a"] == 2
    assert numbers["metaproxy_upstream_breaker", "http://b"] == 0
    assert numbers["metaproxy_upstream_healthy", "http://a"] == 1
    assert numbers["metaproxy_upstream_active_requests", "http://a"] == 0


async def test_connections_are_shown() -> None:
    metrics = Metrics()
    async with upstream(answers(OK)) as compute:
        forward = Forward(UpstreamTransport(connect_timeout=60, metrics=metrics), targets=[compute.origin])
        await ask(forward)

        numbers = shown(metrics)
        assert numbers["metaproxy_upstream_connections", compute.origin, "idle"] == 1
        assert numbers["metaproxy_upstream_connections", compute.origin, "busy"] == 0
        assert numbers["metaproxy_upstream_queued", compute.origin] == 0
        await forward.close()


async def test_a_target_whose_answers_count_as_failures_is_left_alone() -> None:
    transport = Targets(a=responds(503, {}, b""), b=fine)
    policy = BreakerPolicy(failures=2, statuses=(503,))
    forward = forward_to(transport, "a", "b", breaker=policy, clock=lambda: 0.0)

    statuses = [(await ask(forward)).status for _ in range(20)]

    assert statuses.count(503) == 2
    assert set(statuses[-10:]) == {200}


async def test_no_answer_of_the_only_target_counts_as_a_failure() -> None:
    policy = BreakerPolicy(failures=2, statuses=(503,))
    forward = forward_to(Targets(a=responds(503, {}, b"told")), breaker=policy, clock=lambda: 0.0)

    assert [(await ask(forward)).body for _ in range(5)] == [b"told"] * 5
