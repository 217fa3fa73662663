"""Bodies both ways: as they come, in bounded memory, and what ends them early."""

import asyncio
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from metaproxy.forward.engine.body import HIGH_WATER_BYTES
from metaproxy.forward.errors import ConnectionReset, UnsendableRequest
from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import OK, Peer, answers, body_of, read, request, upstream

MIB = 1024 * 1024
# What the kernel holds for both ends of a connection, at most: its buffers grow on loopback.
KERNEL_BYTES = 12 * MIB
# One read of a socket: 256 KiB in asyncio, 250 kB in uvloop.
READ_BYTES = 256 * 1024


async def test_a_body_with_a_length_is_sent_as_it_is(make_transport: MakeTransport) -> None:
    bodies = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.reader.readexactly(6))
        await peer.send(OK)

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"6")], body=[b"abc", b"", b"def"])
        await read(await make_transport().handle_async_request(upload))

    assert bodies == [b"abcdef"]


async def test_a_chunked_body_is_sent_in_the_chunks_that_come(make_transport: MakeTransport) -> None:
    bodies = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.reader.readuntil(b"0\r\n\r\n"))
        await peer.send(OK)

    async with upstream(script) as compute:
        upload = request(
            compute.url, "PUT", headers=[(b"transfer-encoding", b"chunked")], body=[b"abc", b"", b"d" * 16]
        )
        await read(await make_transport().handle_async_request(upload))

    assert bodies == [b"3\r\nabc\r\n10\r\ndddddddddddddddd\r\n0\r\n\r\n"]


async def test_no_body_is_invented(make_transport: MakeTransport) -> None:
    async with upstream(answers(OK)) as compute:
        await read(await make_transport().handle_async_request(request(compute.url, "POST", body=[])))

        assert compute.heads == [b"POST / HTTP/1.1\r\nhost: compute.example\r\n\r\n"]


@pytest.mark.parametrize("body", [[b"abc"], [b"abcd", b"efg"]])
async def test_a_body_of_another_length_than_it_said_ends_the_request(
    make_transport: MakeTransport, body: list[bytes]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.closed()

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"5")], body=body)
        with pytest.raises(UnsendableRequest):
            await make_transport().handle_async_request(upload)


async def test_an_error_of_the_bodys_source_reaches_the_caller_and_closes_the_connection(
    make_transport: MakeTransport,
) -> None:
    closed = asyncio.Event()

    class ClientWentAway(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ClientWentAway

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=body())
        with pytest.raises(ClientWentAway):
            await make_transport().handle_async_request(upload)
        await closed.wait()


async def test_an_early_response_ends_the_upload_and_the_connection(make_transport: MakeTransport) -> None:
    closed = asyncio.Event()
    upload_ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            await asyncio.Event().wait()
        finally:
            upload_ended.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=body())
        response = await make_transport().handle_async_request(upload)
        assert upload_ended.is_set()
        assert (response.status_code, await read(response)) == (413, b"no")
        await closed.wait()


async def test_an_upstream_that_answers_and_closes_during_the_upload(make_transport: MakeTransport) -> None:
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await answered.wait()
        await asyncio.Event().wait()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readexactly(3)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno")
        answered.set()

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=body())
        response = await make_transport().handle_async_request(upload)
        assert (response.status_code, await read(response)) == (400, b"no")


async def test_interim_responses_are_skipped(make_transport: MakeTransport) -> None:
    early_hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"

    async with upstream(answers(b"HTTP/1.1 100 Continue\r\n\r\n" + early_hints + OK)) as compute:
        response = await make_transport().handle_async_request(request(compute.url))

        assert response.headers.raw == [(b"content-length", b"2")]
        assert await read(response) == b"ok"


async def test_a_body_may_end_with_the_connection(make_transport: MakeTransport) -> None:
    async with upstream(answers(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True)) as compute:
        response = await make_transport().handle_async_request(request(compute.url))

        assert await read(response) == b"until the end"


async def test_chunks_arrive_as_they_are_sent(make_transport: MakeTransport) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        body = aiter(body_of(response))
        assert await anext(body) == b"one"

        go_on.set()
        assert [chunk async for chunk in body] == [b"two"]


async def test_a_reader_that_does_not_read_stops_the_upstream(make_transport: MakeTransport) -> None:
    sent = 0
    size = 64 * MIB

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            await peer.send(bytes(MIB))
            sent += MIB

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        await until_it_stands_still(lambda: sent)

        assert sent <= KERNEL_BYTES
        assert body_of(response).buffered <= HIGH_WATER_BYTES + READ_BYTES  # type: ignore[attr-defined]
        assert len(await read(response)) == size


async def test_an_upstream_that_does_not_read_stops_the_client(make_transport: MakeTransport) -> None:
    taken = 0
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += MIB
            yield bytes(MIB)

    async def script(peer: Peer) -> None:
        await peer.head()
        await go_on.wait()
        for _ in range(64):
            await peer.reader.readexactly(MIB)
        await peer.send(OK)

    async with upstream(script) as compute:
        upload = request(compute.url, "PUT", headers=[(b"content-length", b"%d" % (64 * MIB))], body=body())
        sending = asyncio.ensure_future(make_transport().handle_async_request(upload))
        await until_it_stands_still(lambda: taken)
        assert taken <= KERNEL_BYTES

        go_on.set()
        assert await read(await sending) == b"ok"
    assert taken == 64 * MIB


async def test_64_mebibytes_pass_in_constant_memory(make_transport: MakeTransport) -> None:
    piece = bytes(64 * 1024)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1024):
            await peer.send(b"10000\r\n" + piece + b"\r\n")
        await peer.send(b"0\r\n\r\n")

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        tracemalloc.start()
        try:
            received = 0
            async for chunk in body_of(response):
                received += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert received == 64 * MIB
    assert peak < 4 * MIB


async def test_a_response_that_is_given_up_closes_its_connection(make_transport: MakeTransport) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await peer.closed()
        closed.set()

    async with upstream(script) as compute:
        response = await make_transport().handle_async_request(request(compute.url))
        await response.aclose()
        await closed.wait()


async def until_it_stands_still(read_number: Callable[[], int]) -> None:
    """Let the loop run until a number has not changed for some turns."""
    before, still = -1, 0
    while still < 20:
        await asyncio.sleep(0.002)
        now = read_number()
        still = still + 1 if now == before and now else 0
        before = now


REFUSES = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"


class Resetting:
    """An upstream that answers in the middle of an upload, and resets the connection with its body unread."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = httpx.URL(f"http://127.0.0.1:{self._listener.getsockname()[1]}")

    async def body(self) -> AsyncIterator[bytes]:
        """Yield pieces. The last one is written to a connection that was reset with the answer unread."""
        yield b"abc"
        peer, _ = self._listener.accept()
        peer.recv(3)
        peer.sendall(self._answer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self._listener.close()
        yield b"defghi"


async def test_an_upload_that_is_refused_and_reset_has_the_refusal(make_transport: MakeTransport) -> None:
    compute = Resetting(REFUSES)
    upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=compute.body())

    response = await make_transport().handle_async_request(upload)

    assert (response.status_code, await read(response)) == (413, b"no")


@pytest.mark.parametrize(
    "answer", [b"", REFUSES[:20], REFUSES[:-1]], ids=["none", "half a head", "half a body"]
)
async def test_an_upload_that_is_reset_has_no_half_answer(
    answer: bytes, make_transport: MakeTransport
) -> None:
    compute = Resetting(answer)
    upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=compute.body())

    with pytest.raises(ConnectionReset):
        await read(await make_transport().handle_async_request(upload))


async def test_an_answer_without_length_that_ends_with_a_reset_is_not_whole(
    make_transport: MakeTransport,
) -> None:
    compute = Resetting(b"HTTP/1.1 413 Content Too Large\r\n\r\nno")
    upload = request(compute.url, "PUT", headers=[(b"content-length", b"9")], body=compute.body())

    response = await make_transport().handle_async_request(upload)

    assert response.status_code == 413
    with pytest.raises(ConnectionReset):
        await read(response)
