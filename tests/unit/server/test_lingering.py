"""The last answer of a connection reaches a client that is still sending, within bounds."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from metaproxy.server.edge import EdgeLimits
from metaproxy.server.lingering import MOST_BYTES
from tests.unit.forward.certificates import Authority
from tests.unit.server.edge_server import LOOPS, edge_server, run

PATIENT = EdgeLimits(header_bytes=2000)
UPLOAD = b"a" * 4 * 1024 * 1024

LAST_ANSWERS = {
    "a refused head": (b"nonsense\r\n\r\n", 400),
    "a refused target": (b"PUT ftp://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 400),
    "a head that is too large": (b"PUT / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3000, 431),
    "a refused body": (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
    "an early answer": (b"PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("sent", "status"), LAST_ANSWERS.values(), ids=LAST_ANSWERS)
def test_the_last_answer_reaches_a_client_that_sends_all_before_it_reads(
    sent: bytes, status: int, loop: str
) -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            answer = await server.send_then_read(sent, UPLOAD)

            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"connection: close" in answer
            assert answer.count(b"HTTP/1.1 ") == 1
            await server.until_nobody_is_connected()
            assert server.edge.lingering == 0
            assert len(server.edge.addresses) == 0

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_too_many_is_told_so_even_if_it_sends_at_once(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits(max_connections=0)) as server:
            answer = await server.send_then_read(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", UPLOAD)

            assert answer.startswith(b"HTTP/1.1 503 ")

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_over_tls_the_last_answer_reaches_a_client_that_sends_all_before_it_reads(
    tmp_path: Path, loop: str
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("proxy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    tls = (context, ssl.create_default_context(cafile=authority.ca))

    async def scenario() -> None:
        async with edge_server(PATIENT, tls=tls) as server:
            answer = await server.send_then_read(b"nonsense\r\n\r\n", UPLOAD)

            assert answer.startswith(b"HTTP/1.1 400 ")
            await server.until_nobody_is_connected()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_sends_without_end_is_closed_at_last(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            with pytest.raises(ConnectionError):
                await server.send_then_read(b"nonsense\r\n\r\n", *[UPLOAD] * 64)
            await server.until_nobody_is_connected()

    assert len(UPLOAD) * 64 > MOST_BYTES * 4
    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_stays_hears_the_end_at_once_and_is_closed_after_a_while(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"nonsense\r\n\r\n")
            answer = await reader.read()
            held = server.edge.lingering
            await server.until_nobody_is_connected()
            writer.close()

            assert answer.startswith(b"HTTP/1.1 400 ")
            assert held == 1

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_does_not_read_its_last_answer_is_cut_off(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            with server.connect() as client:
                client.sendall(b"PUT /early?50000000 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
                await server.until(lambda: server.edge.lingering == 1)
                await server.until_nobody_is_connected()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("close", [b"Connection: close\r\n", b""], ids=["closed by the client", "idle"])
def test_a_client_that_does_not_read_a_small_answer_is_cut_off_too(loop: str, close: bytes) -> None:
    async def scenario() -> None:
        limits = EdgeLimits(idle_seconds=0.1, body_seconds=0.1)
        async with edge_server(limits, send_buffer=4096) as server:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", server.port))
                # More than the kernel takes, less than makes the transport ask for a pause.
                client.sendall(b"GET /?60000 HTTP/1.1\r\nHost: a\r\n%b\r\n" % close)
                await server.until(lambda: bool(server.app.asked))
                await server.until_nobody_is_connected()

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_only_so_many_connections_linger(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            server.edge.lingering = server.edge.limits.max_lingering
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"nonsense\r\n\r\n")
            answer = await reader.read()

            assert answer.startswith(b"HTTP/1.1 400 ")
            assert server.edge.lingering == server.edge.limits.max_lingering
            writer.close()

    run(loop, scenario)


def test_a_server_that_leaves_does_not_disturb_a_connection_that_lingers() -> None:
    async def scenario() -> None:
        async with edge_server(PATIENT) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"nonsense\r\n\r\n")
            answer = await reader.read()
            for connection in list(server.state.connections):
                connection.shutdown()
            writer.write(b"more")
            with suppress(ConnectionError):
                await writer.drain()
            writer.close()

            assert answer.startswith(b"HTTP/1.1 400 ")
            await server.until_nobody_is_connected()

    run("uvloop", scenario)
