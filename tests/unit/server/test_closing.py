import asyncio
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.config.addresses import ListenAddress
from metaproxy.server.closing import admit_no_more, empty
from metaproxy.server.listeners import bind

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such filter")


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with bind(ListenAddress(request.param, 0)) as listener:
        yield listener


def connecting(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.setblocking(False)
    client.connect_ex(listener.getsockname())
    return client


def is_connected(client: socket.socket, seconds: float) -> bool:
    return bool(select.select([], [client], [], seconds)[1])


@linux
def test_who_waits_in_the_queue_stays_and_nobody_joins_them(listener: socket.socket) -> None:
    with connecting(listener) as early:
        assert is_connected(early, 5)
        early.sendall(b"hello")

        admit_no_more([listener])

        with connecting(listener) as late:
            assert not is_connected(late, 0.1)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(5) == b"hello"
            with pytest.raises(BlockingIOError):
                listener.accept()


@linux
def test_who_came_in_before_is_served_as_before(listener: socket.socket) -> None:
    with connecting(listener) as client:
        assert is_connected(client, 5)
        accepted, _ = listener.accept()
        with accepted:
            admit_no_more([listener])

            client.sendall(b"question")
            assert accepted.recv(8) == b"question"
            accepted.sendall(b"answer")
            assert select.select([client], [], [], 5)[0]
            assert client.recv(6) == b"answer"


def test_a_unix_socket_is_found_no_more(tmp_path: Path) -> None:
    with bind(ListenAddress(path=str(tmp_path / "socket"))) as listener, connecting(listener) as early:
        admit_no_more([listener])

        assert not (tmp_path / "socket").exists()
        accepted, _ = listener.accept()
        accepted.close()
        assert early.getpeername() == str(tmp_path / "socket")


def test_a_listener_that_is_closed_already_is_no_problem() -> None:
    listener = bind(ListenAddress("127.0.0.1", 0))
    listener.close()

    admit_no_more([listener])


async def test_a_queue_is_empty_when_the_loop_has_accepted_all() -> None:
    accepted = 0

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.close()

    with bind(ListenAddress("127.0.0.1", 0)) as listener:
        clients = [connecting(listener) for _ in range(50)]
        assert all(is_connected(client, 5) for client in clients)
        server = await asyncio.start_server(accept, sock=listener)

        await empty([listener])

        server.close()
        await asyncio.sleep(0)  # what was accepted last is told of in the next turn
        for client in clients:
            client.close()
    assert accepted == len(clients)
