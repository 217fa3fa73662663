"""What a transport raises for everything that an upstream can do wrong, over real sockets."""

import asyncio
import socket

import httpx
import pytest

from metaproxy.forward.errors import ConnectionReset, InvalidResponse, NameNotResolved, TruncatedResponse
from tests.ports import HeldPorts
from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import OK, Peer, answers, body_of, read, request, upstream

SHORT = 0.05
# For what must not run out before something else has happened, on a machine that is busy.
LONGER = 0.2


async def test_nobody_listens(make_transport: MakeTransport) -> None:
    with HeldPorts() as nobody:
        url = httpx.URL(f"http://127.0.0.1:{nobody.first}")
        with pytest.raises(httpx.ConnectError):
            await make_transport().handle_async_request(request(url))


async def test_a_name_that_has_no_address(make_transport: MakeTransport) -> None:
    # A label of more than 63 characters is refused without asking any server (RFC 1035 §2.3.4).
    url = httpx.URL(f"http://{'x' * 64}.invalid")

    with pytest.raises(NameNotResolved):
        await make_transport().handle_async_request(request(url))


async def test_a_unix_socket_that_is_not_there(make_transport: MakeTransport) -> None:
    with pytest.raises(httpx.ConnectError):
        await make_transport().handle_async_request(request(httpx.URL("unix:/nonexistent/compute.sock")))


async def test_an_unknown_scheme_is_refused(make_transport: MakeTransport) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await make_transport().handle_async_request(request(httpx.URL("ftp://compute.example")))


async def test_a_reset_before_the_response(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with upstream(script) as compute:
        with pytest.raises(ConnectionReset):
            await make_transport().handle_async_request(request(compute.url))


async def test_an_end_before_the_response(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()

    async with upstream(script) as compute:
        with pytest.raises(ConnectionReset):
            await make_transport().handle_async_request(request(compute.url))


async def test_a_reset_inside_the_head(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        peer.reset()

    async with upstream(script) as compute:
        with pytest.raises(ConnectionReset):
            await make_transport().handle_async_request(request(compute.url))


async def test_a_reset_inside_the_body(make_transport: MakeTransport) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await go_on.wait()
        peer.reset()

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        body = aiter(body_of(response))
        assert await anext(body) == b"half"

        go_on.set()
        with pytest.raises(ConnectionReset):
            await anext(body)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="by its length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="no last chunk"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", id="inside a chunk"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            id="inside the trailer",
        ),
    ],
)
async def test_a_truncated_body_is_an_error_after_what_came(
    make_transport: MakeTransport, response: bytes
) -> None:
    async with upstream(answers(response, close=True)) as compute:
        received = await make_transport().handle_async_request(request(compute.url))
        body = aiter(body_of(received))

        assert await anext(body) == b"half"
        with pytest.raises(TruncatedResponse):
            await anext(body)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", id="two lengths"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", id="an upgrade"),
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + OK, id="a flood of interim responses"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n", id="a head too large"),
    ],
)
async def test_an_invalid_response_is_refused_and_its_connection_closed(
    make_transport: MakeTransport, response: bytes
) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        try:
            await peer.send(response)
            await peer.closed()
        finally:
            closed.set()

    async with upstream(script) as compute:
        with pytest.raises(InvalidResponse):
            await make_transport().handle_async_request(request(compute.url))
        await closed.wait()


async def test_a_head_without_end_is_refused_while_it_still_comes(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-More: of the same\r\n" * 100)

    async with upstream(script) as compute:
        with pytest.raises(InvalidResponse):
            await make_transport().handle_async_request(request(compute.url))


async def test_a_trailer_without_end_is_refused(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        while True:
            await peer.send(b"X-More: of the same\r\n" * 100)

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        with pytest.raises(InvalidResponse):
            await read(response)


async def test_no_connection_in_time(make_transport: MakeTransport) -> None:
    # A listener whose queue is full drops new connections in silence.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            url = httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
            with pytest.raises(httpx.ConnectTimeout):
                await make_transport(connect_timeout=SHORT).handle_async_request(request(url))


async def test_no_response_in_time(make_transport: MakeTransport) -> None:
    async with upstream(Peer.closed) as compute:
        with pytest.raises(httpx.ReadTimeout):
            await make_transport(read_timeout=SHORT).handle_async_request(request(compute.url))


async def test_no_more_of_a_body_in_time(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await peer.closed()

    async with upstream(script) as compute:
        response = await make_transport(read_timeout=LONGER).handle_async_request(request(compute.url))
        with pytest.raises(httpx.ReadTimeout):
            await read(response)


async def test_a_slow_body_is_no_timeout_as_long_as_bytes_come(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await peer.send(b"x")
            await asyncio.sleep(LONGER / 5)

    async with upstream(script) as compute:
        response = await make_transport(read_timeout=LONGER).handle_async_request(request(compute.url))
        assert await read(response) == b"x" * 10


async def test_a_head_that_comes_octet_by_octet_is_no_response_in_time(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(LONGER / 10)

    async with upstream(script) as compute:
        with pytest.raises(httpx.ReadTimeout):
            await make_transport(read_timeout=LONGER).handle_async_request(request(compute.url))


async def test_an_upstream_that_takes_no_more_of_a_body(make_transport: MakeTransport) -> None:
    never = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await never.wait()

    async with upstream(script) as compute:
        upload = request(
            compute.url, "PUT", headers=[(b"transfer-encoding", b"chunked")], body=[bytes(65536)] * 1000
        )
        with pytest.raises(httpx.WriteTimeout):
            await make_transport(write_timeout=SHORT).handle_async_request(upload)


async def test_a_cancelled_request_closes_its_connection(make_transport: MakeTransport) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        sending = asyncio.ensure_future(make_transport().handle_async_request(request(compute.url)))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await closed.wait()
