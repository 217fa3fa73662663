"""Interim responses of the upstream, and the version in which it answers, over real sockets, on both ways."""

import asyncio
import re
from typing import Any

import pytest
from starlette.types import Message, Scope

from metaproxy.asgi import Responder
from metaproxy.exchange import SCOPE_KEY, Exchange
from metaproxy.forward.interim import InterimResponses
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.protocol import interim
from tests.unit.cache.wire import ITEM, Client, Wired, wired
from tests.unit.forward.scripted import OK, Peer, Script, answers, upstream

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STORABLE = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok"
SERVERS = "/v2.1/t1/servers/7"
WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])
TARGETS = pytest.mark.parametrize("target", [SERVERS, ITEM], ids=["passed on", "cached"])


async def heads(client: Client, method: str = "GET", path: str = SERVERS, *fields: str) -> list[str]:
    """Send a request; return the heads of its answer, the final one last. Its body is two octets."""
    client.send(method, path, *fields)
    return await heads_of_answer(client)


async def heads_of_answer(client: Client) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(20):
        while not found or found[-1].startswith("HTTP/1.1 1"):
            found.append((await client.reader.readuntil(b"\r\n\r\n")).decode())
        if "content-length: 2" in found[-1]:
            await client.reader.readexactly(2)
    return found


def statuses(found: list[str]) -> list[int]:
    return [int(head.split()[1]) for head in found]


async def held_back(peer: Peer, go_on: asyncio.Event, early: bytes, final: bytes) -> None:
    """Answer every request with ``early`` at once, and with ``final`` when ``go_on`` is set."""
    while True:
        await peer.head()
        await peer.send(early)
        await go_on.wait()
        await peer.send(final)


@WAYS
@TARGETS
async def test_interim_responses_reach_the_client_first_and_remembered(fast: bool, target: str) -> None:
    async with wired(answers(PROCESSING + EARLY + OK), fast=fast) as proxy:
        client = await proxy.client()

        # Each cached path is another one: the first read stores the answer.
        paths = [f"{target}{n}" for n in range(3)] + ([target] * 4 if target == SERVERS else [])
        found = [statuses(await heads(client, "GET", path)) for path in paths]

    assert found == [[102, 103, 200]] * len(paths)


@WAYS
@TARGETS
async def test_an_interim_response_does_not_wait_for_the_final_one(fast: bool, target: str) -> None:
    go_on = asyncio.Event()
    async with wired(lambda peer: held_back(peer, go_on, EARLY, OK), fast=fast) as proxy:
        client = await proxy.client()
        for number in range(3):
            go_on.clear()
            client.send("GET", f"{target}{number}")
            async with asyncio.timeout(20):
                early = await client.reader.readuntil(b"\r\n\r\n")
            assert early.startswith(b"HTTP/1.1 103")
            go_on.set()
            assert statuses(await heads_of_answer(client)) == [200]


@WAYS
async def test_a_client_of_http_1_0_gets_none(fast: bool) -> None:
    async with wired(answers(EARLY + OK), fast=fast) as proxy:
        client = await proxy.client()
        client.writer.write(f"GET {SERVERS} HTTP/1.0\r\nHost: api\r\nX-Auth-Token: alice\r\n\r\n".encode())

        answer = await client.reader.read()

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 103" not in answer


@WAYS
async def test_an_interim_response_has_via_and_end_to_end_fields_alone(fast: bool) -> None:
    early = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: timeout=1\r\nContent-Length: 5\r\nX-User-Id: root\r\nCache-Status: x; hit\r\n"
        b"X-Compute-Request-Id: req-u\r\nX-Old: 1\r\n\r\n"
    )
    async with wired(answers(early + OK), fast=fast, edits=True) as proxy:
        client = await proxy.client()
        found = [(await heads(client))[0] for _ in range(4)]

    # Of the operator's edits, those that remove fields hold here too.
    assert set(found) == {"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nvia: 1.1 metaproxy\r\n\r\n"}


@WAYS
async def test_100_that_the_client_does_not_wait_for_is_dropped(fast: bool) -> None:
    async with wired(answers(CONTINUE + OK), fast=fast) as proxy:
        client = await proxy.client()

        assert [statuses(await heads(client)) for _ in range(4)] == [[200]] * 4


async def test_a_client_that_waits_for_100_gets_it_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CONTINUE)
        await peer.reader.readexactly(4)
        await peer.send(CONTINUE + OK)

    async with wired(script) as proxy:
        client = await proxy.client()
        client.send("POST", SERVERS, "Content-Length: 4", "Expect: 100-continue")
        async with asyncio.timeout(20):
            first = await client.reader.readuntil(b"\r\n\r\n")
        client.writer.write(b"body")

        assert first.startswith(b"HTTP/1.1 100")
        assert statuses(await heads_of_answer(client)) == [200]


@WAYS
async def test_interim_responses_are_neither_stored_nor_sent_to_those_who_join(fast: bool) -> None:
    go_on = asyncio.Event()
    async with wired(lambda peer: held_back(peer, go_on, EARLY, STORABLE), fast=fast) as proxy:
        leader, joiner = await proxy.client(), await proxy.client()
        leader.send("GET", ITEM)
        await proxy.flying()
        joiner.send("GET", ITEM)
        async with asyncio.timeout(20):
            await leader.reader.readuntil(b"\r\n\r\n")
        go_on.set()
        found = [await heads_of_answer(leader), await heads_of_answer(joiner)]
        found.append(await heads(joiner, "GET", ITEM))
        asked = len(proxy.upstream.heads)

    assert [statuses(each) for each in found] == [[200], [200], [200]]
    assert asked == 1


@WAYS
async def test_a_failure_behind_an_interim_response_is_told(fast: bool) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await held_back(peer, go_on, EARLY, b"nonsense\r\n\r\n")

    async with wired(script, fast=fast) as proxy:
        client = await proxy.client()
        await heads(client)
        client.send("GET", SERVERS)
        async with asyncio.timeout(20):
            await client.reader.readuntil(b"\r\n\r\n")
        go_on.set()

        assert statuses(await heads_of_answer(client)) == [502]


@WAYS
async def test_a_client_that_leaves_behind_an_interim_response_lets_the_upstream_go(fast: bool) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await peer.head()
        await peer.send(EARLY)
        await peer.closed()
        gone.set()

    async with wired(script, fast=fast) as proxy:
        client = await proxy.client()
        await heads(client)
        client.send("GET", SERVERS)
        async with asyncio.timeout(20):
            await client.reader.readuntil(b"\r\n\r\n")
            client.writer.close()
            await gone.wait()


@WAYS
async def test_too_many_interim_responses_are_a_bad_gateway(fast: bool) -> None:
    async with wired(answers(EARLY * 17 + OK), fast=fast) as proxy:
        assert statuses(await heads(await proxy.client()))[-1] == 502


async def test_interim_responses_are_sent_in_their_order_and_waited_for() -> None:
    sent: list[int] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message["status"])

    responses = InterimResponses(send)
    for status in (102, 103, 104):
        responses.add(interim.message(status, []))
    await responses.sent()

    assert sent == [102, 103, 104]


async def test_interim_responses_that_a_client_does_not_take_hold_nothing_up() -> None:
    async def send(_: Message) -> None:
        await asyncio.Event().wait()

    responses = InterimResponses(send)
    responses.add(interim.message(103, []))
    async with asyncio.timeout(20):
        await responses.aclose()
        await responses.sent()


async def sent_to_another_server(extensions: dict[str, Any] | None, script: Script) -> list[Message]:
    """Return what the forwarder sends to a server that has these extensions of ASGI."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async with upstream(script) as origin:
        forward = Forward(UpstreamTransport(connect_timeout=60), targets=[origin.origin])
        exchange = Exchange("req-1", 0.0)
        scope: Scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        scope[SCOPE_KEY] = exchange
        if extensions is not None:
            scope["extensions"] = extensions
        await Responder(exchange, scope, send).run(forward, receive)
        await forward.close()
    return sent


async def test_another_server_gets_the_links_of_early_hints_if_it_takes_them() -> None:
    sent = await sent_to_another_server({"http.response.early_hint": {}}, answers(PROCESSING + EARLY + OK))

    assert sent[0] == {"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]}
    assert sent[1]["type"] == "http.response.start"


@pytest.mark.parametrize("extensions", [None, {}, {"http.response.push": {}}])
async def test_another_server_gets_only_messages_that_it_knows(extensions: dict[str, Any] | None) -> None:
    sent = await sent_to_another_server(extensions, answers(PROCESSING + EARLY + OK))

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def via_of(found: list[str]) -> str:
    values = re.findall(r"via: (.*)\r\n", found[-1])
    assert len(values) == 1
    return str(values[0])


async def versions(proxy: Wired, target: str, times: int = 4) -> list[str]:
    client = await proxy.client()
    return [via_of(await heads(client, "GET", f"{target}{number}")) for number in range(times)]


@WAYS
@TARGETS
async def test_via_tells_the_version_in_which_the_upstream_answered(fast: bool, target: str) -> None:
    old = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    async with wired(answers(old, OK, old, OK), fast=fast) as proxy:
        found = await versions(proxy, target)

    assert found == ["1.0 metaproxy", "1.1 metaproxy", "1.0 metaproxy", "1.1 metaproxy"]
