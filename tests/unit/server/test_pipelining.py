"""Requests that come before the answers to those in front: in order, bounded, and never mixed up."""

import pytest

from metaproxy.server.edge import EdgeLimits
from tests.unit.server.edge_server import LOOPS, EdgeServer, edge_server, run

LIMITS = EdgeLimits(max_pipelined=4)


def get(target: str) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target.encode()


def put(target: str, body: bytes) -> bytes:
    return b"PUT %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (target.encode(), body)


def statuses(answer: bytes) -> list[bytes]:
    return [part.split(b" ", 1)[0] for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("requests", [5, 1000, 20_000])
def test_so_many_requests_wait_and_the_last_answer_says_that_it_is(loop: str, requests: int) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            answer = await server.send_then_read(b"".join(get(f"/{number}") for number in range(requests)))

            taken = [f"/{number}" for number in range(5)]
            assert server.app.asked == taken
            assert statuses(answer) == [b"200"] * 5
            assert answer.count(b"connection: close") == 1
            assert answer.rpartition(b"connection: close")[2].endswith(b"/4")
            await server.until_nobody_is_connected()

    run(loop, scenario)


async def held(server: EdgeServer, *sent: bytes) -> bytes:
    """Send ``sent`` while the first request is not answered yet; return all answers."""
    server.app.go.clear()
    with server.connect() as client:
        client.sendall(b"".join(sent))
        await server.until(lambda: bool(server.app.asked))
        connection = server.connection()
        await server.until(lambda: connection.answers.refusal is not None)
        server.app.go.set()
        return await server.read(client)


AFTER = {
    "no HTTP": b"nonsense\r\n\r\n",
    "a target that is refused": get("ftp://a/"),
    "a body that is refused": put("/2", b"nonsense\r\n"),
    "a head that is too large": b"GET /" + b"a" * 70_000,
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_a_refusal_waits_for_the_answers_to_the_requests_before_it(loop: str, after: bytes) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            answer = await held(server, get("/0"), get("/1"), after)

            refusal = b"431" if len(after) > 65536 else b"400"
            assert statuses(answer) == [b"200", b"200", refusal]
            assert server.app.asked == ["/0", "/1"]
            assert server.app.left == []

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_refusal_is_never_written_into_the_answer_before_it(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            length = 20_000_000
            answer = await server.send_then_read(get(f"/?{length}"), get("/1"), b"nonsense\r\n\r\n")

            assert statuses(answer) == [b"200", b"200", b"400"]
            assert answer.partition(b"\r\n\r\n")[2][:length] == b"/" * length

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_leaves_ends_the_request_that_is_worked_on(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            server.app.go.clear()
            with server.connect() as client:
                client.sendall(get("/0") + get("/1"))
                await server.until(lambda: bool(server.app.asked))

            await server.until(lambda: server.app.left == ["/0"])
            assert server.app.asked == ["/0"]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_after_connection_close_is_looked_at(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            last = b"GET /0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            answer = await server.send_then_read(last + get("/1") * 100_000)

            assert statuses(answer) == [b"200"]
            assert server.app.asked == ["/0"]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_lingers_if_its_last_answer_is_written_while_a_head_comes(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            server.app.go.clear()
            with server.connect() as client:
                client.sendall(get("/0") + get("/1")[:10])
                await server.until(lambda: bool(server.app.asked))
                server.connection().shutdown()
                server.app.go.set()
                await server.until(lambda: server.edge.lingering == 1)

                assert statuses(await server.read(client)) == [b"200"]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_leaves_answers_what_runs_and_takes_nothing_more(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            server.app.go.clear()
            with server.connect() as client:
                client.sendall(get("/0"))
                await server.until(lambda: bool(server.app.asked))
                connection = server.connection()
                connection.shutdown()
                client.sendall(get("/1"))
                await server.until(lambda: connection.reader.sends_on)
                server.app.go.set()
                answer = await server.read(client)

            assert statuses(answer) == [b"200"]
            assert b"connection: close" in answer
            assert server.app.asked == ["/0"]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_waits_behind_an_answer_that_closes_is_not_worked_on(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(LIMITS) as server:
            answer = await server.send_then_read(get("/early") + get("/1") + get("/2"))

            assert statuses(answer) == [b"413"]
            await server.until_nobody_is_connected()
            assert server.app.asked == ["/early"]

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_head_that_was_refused_is_no_request_when_its_end_comes(loop: str) -> None:
    async def scenario() -> None:
        async with edge_server(EdgeLimits(header_bytes=100)) as server:
            server.app.go.clear()
            with server.connect() as client:
                client.sendall(get("/0") + b"GET /1 HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100)
                await server.until(lambda: bool(server.state.connections))
                connection = server.connection()
                await server.until(lambda: connection.answers.refusal is not None)
                client.sendall(b"\r\n\r\n" + get("/2"))
                await server.until(lambda: connection.reader.sends_on)
                server.app.go.set()
                answer = await server.read(client)

            assert statuses(answer) == [b"200", b"431"]
            assert server.app.asked == ["/0"]

    run(loop, scenario)
