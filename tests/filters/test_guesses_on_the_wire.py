"""Made-up tokens over real sockets, with a Keystone that takes 50 ms for each answer."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from metaproxy.app import Application, create_app
from metaproxy.config.addresses import ListenAddress
from metaproxy.server.listeners import bind, port_of
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.server.serving import edge_of
from tests.redis_server import RedisServer
from tests.unit.assembly.configured import config
from tests.unit.forward.scripted import Peer, upstream

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="one address of loopback alone elsewhere")

MADE_UP = 1_000
"""10 000 make no difference but in time."""
GUESSER, OTHER = "127.0.0.2", "127.0.0.3"
VALID = (
    b'{"token": {"methods": ["password"], "user": {"id": "u1", "name": "alice", "domain": {"id": "d"}},'
    b' "project": {"id": "t1", "name": "demo", "domain": {"id": "d"}},'
    b' "roles": [{"id": "r", "name": "member"}],'
    b' "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2096-01-01T00:00:00.000000Z"}}'
)
UNKNOWN = b'{"error": {"code": 404, "message": "not found", "title": "Not Found"}}'


class Keystone:
    """Knows the tokens that begin with ``good``. ``asked`` are those that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = 0
        self.open = asyncio.Event()
        self.open.set()
        self._answering = 0

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            if head.startswith(b"POST"):
                length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
                await peer.reader.readexactly(length)
                await peer.send(_answer(b"201 Created", VALID, b"X-Subject-Token: ours\r\n"))
                continue
            token = re.search(rb"(?i)x-subject-token: (\S+)", head)[1].decode()  # type: ignore[index]
            self.asked.append(token)
            self._answering += 1
            self.at_once = max(self.at_once, self._answering)
            if not token.startswith("good"):
                await asyncio.sleep(0.05)
                await self.open.wait()
            self._answering -= 1
            known = token.startswith("good")
            await peer.send(_answer(b"200 OK", VALID) if known else _answer(b"404 Not Found", UNKNOWN))


def _answer(status: bytes, body: bytes, fields: bytes = b"") -> bytes:
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (status, length, fields, body)


async def compute(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Proxy:
    """A process with one listener; a reload puts another application behind it."""

    def __init__(self, folder: Path, keystone: str, *sections: str) -> None:
        self._folder = folder
        self._keystone = keystone
        self.application = self._made(sections, None)
        self.port = 0

    def _made(self, sections: Iterable[str], previous: Application | None) -> Application:
        identity = (
            f"identity: {{provider: keystone-v3, url: '{self._keystone}/v3', guesses: {{rate: 100/day}},"
            f" login: {{username: m, password: p, user_domain_name: Default}}}}"
        )
        said = [section for section in sections if not section.startswith("identity")]
        said.append("logging: {access: false}")
        said.append(next((each for each in sections if each.startswith("identity")), identity))
        return create_app(config(self._folder, *said), previous, answering=compute)

    async def reload(self, *sections: str) -> None:
        """Take another configuration into use."""
        former, self.application = self.application, self._made(sections, self.application)
        await self.application.start()
        self.application.take_over()
        await former.close()

    def connected(self) -> EdgeProtocol:
        edge = edge_of(self.application)
        edge.fast_lane = self.application.fast_lane()
        settings = uvicorn.Config(self.application, lifespan="off", log_config=None, ws="none")
        settings.load()
        return EdgeProtocol(settings, ServerState(), {}, asyncio.get_running_loop(), edge=edge)

    async def statuses(
        self, tokens: Iterable[str], *, address: str = GUESSER, connections: int = 1
    ) -> list[int]:
        """Send a request with each token from ``address``; return the statuses."""
        left = list(enumerate(tokens))
        found: dict[int, int] = {}

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
            while left:
                number, token = left.pop()
                writer.write(f"GET /v2.1/t1/x HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {token}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))  # type: ignore[index]
                found[number] = int(head[9:12])
            writer.close()

        left.reverse()
        await asyncio.gather(*[client() for _ in range(connections)])
        return [found[number] for number in sorted(found)]


@asynccontextmanager
async def proxy(folder: Path, keystone: str, *sections: str) -> AsyncIterator[Proxy]:
    running = Proxy(folder, keystone, *sections)
    await running.application.start()
    listener = bind(ListenAddress("127.0.0.1", 0))
    running.port = port_of(listener)
    server = await asyncio.get_running_loop().create_server(running.connected, sock=listener)
    try:
        yield running
    finally:
        server.close()
        await running.application.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)


def made_up(number: int, name: str = "made-up") -> list[str]:
    return [f"{name}-{each}" for each in range(number)]


async def test_made_up_tokens_cost_keystone_the_configured_number_and_slow_nobody(tmp_path: Path) -> None:
    keystone = Keystone()
    async with upstream(keystone) as identity, proxy(tmp_path, identity.origin) as line:
        assert await line.statuses(["good-known"]) == [200]
        keystone.open.clear()
        guessing = asyncio.ensure_future(line.statuses(made_up(MADE_UP), connections=50))
        while keystone.at_once < 32:
            await asyncio.sleep(0.001)

        # While Keystone answers none of the guesses, a new token of another address is let in.
        assert await line.statuses(["good-new"], address=OTHER) == [200]
        assert await line.statuses(["good-known"] * 3) == [200] * 3
        assert (keystone.at_once, keystone.asked[-1]) == (33, "good-new")

        keystone.open.set()
        answers = Counter(await guessing)
        assert answers == {401: 100, 413: MADE_UP - 100}
        assert len([token for token in keystone.asked if token.startswith("made-up")]) == 100
        assert await line.statuses(["good-known", "good-newer"]) == [200, 413]
        assert await line.statuses(["good-newer"], address=OTHER) == [200]
        assert (await line.statuses(["good-newer"])) == [200]


async def test_an_operator_can_give_an_address_its_guesses_anew(tmp_path: Path) -> None:
    keystone = Keystone()
    async with upstream(keystone) as identity, proxy(tmp_path, identity.origin) as line:
        await line.statuses(made_up(110), connections=20)
        assert await line.statuses(["good"]) == [413]

        assert await line.application.rates.reset(f"address:{GUESSER}") == 1

        assert await line.statuses(["good", "made-up"]) == [200, 401]


async def test_a_reload_gives_no_new_guesses(tmp_path: Path) -> None:
    keystone = Keystone()
    async with upstream(keystone) as identity, proxy(tmp_path, identity.origin) as line:
        assert Counter(await line.statuses(made_up(150), connections=50))[401] == 100

        for sections in (
            ["via: {version: false}"],
            ["limits: {max_counters: 77}"],
            [_slower(identity.origin)],
        ):
            await line.reload(*sections)
            assert set(await line.statuses(made_up(20, "other"), connections=5)) == {413}

        assert len(keystone.asked) == 100


def _slower(origin: str) -> str:
    return (
        f"identity: {{provider: keystone-v3, url: '{origin}/v3', guesses: {{rate: 100/day}}, timeout: 7s,"
        f" login: {{username: m, password: p, user_domain_name: Default}}}}"
    )


async def test_replicas_share_the_guesses_of_an_address(tmp_path: Path) -> None:
    keystone = Keystone()
    (tmp_path / "b").mkdir()
    with RedisServer() as redis:
        store = f"store: {{url: '{redis.url}', timeout: 5s}}"
        async with (
            upstream(keystone) as identity,
            proxy(tmp_path, identity.origin, store) as one,
            proxy(tmp_path / "b", identity.origin, store) as other,
        ):
            answers = await asyncio.gather(
                one.statuses(made_up(150, "a"), connections=20),
                other.statuses(made_up(150, "b"), connections=20),
            )

            assert Counter(answers[0] + answers[1]) == {401: 100, 413: 200}
            assert len(keystone.asked) == 100
            assert await one.statuses(["good-1"], address=OTHER) == [200]
            valid = await one.statuses(
                [f"good-{number}" for number in range(300)], address=OTHER, connections=20
            )
            assert set(valid) == {200}


async def test_rates_before_identity_hold_over_real_sockets(tmp_path: Path) -> None:
    keystone = Keystone()
    rates = "limits: {rates: [{name: attempts, per: [address], before: identity, rate: 20/day}]}"
    async with upstream(keystone) as identity, proxy(tmp_path, identity.origin, rates) as line:
        answers = Counter(await line.statuses(made_up(500), connections=20))
        assert answers == {401: 20, 413: 480}
        assert len(keystone.asked) == 20

        await line.reload(rates.replace("[{", "[{name: more, rate: 5/day}, {"))

        assert await line.statuses(["good"] * 3) == [413] * 3
        assert await line.statuses(["good"] * 3, address=OTHER) == [200] * 3
