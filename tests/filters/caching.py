"""What the tests of the cache share: clocks that stand, an origin that counts, identities."""

import asyncio
from collections.abc import Iterable
from typing import Any

from metaproxy.asgi import Responder
from metaproxy.cache.settings import CacheRoute
from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from metaproxy.filters.cache import MetadataCache
from metaproxy.protocol.caching import dates
from tests.asgi_driver import Answer, Application, Headers, drive

ITEM = "/v2.1/images/i1/metadata/label"
OTHER_ITEM = "/v2.1/images/i1/metadata/color"
COLLECTION = "/v2.1/images/i1/metadata"
START = 1_800_000_000.0

ITEM_ROUTE = CacheRoute(path="/v2.1/images/{image_id}/metadata/{key}", ttl=60.0, negative_ttl=5.0)
COLLECTION_ROUTE = CacheRoute(path="/v2.1/images/{image_id}/metadata", ttl=60.0)
ANYTHING = CacheRoute(path="/**")

JSON = (b"content-type", b"application/json")

ALICE = Identity(user_id="alice", project_id="p1", roles=("member",), token_digest=b"alice")
BOB = Identity(user_id="bob", project_id="p1", roles=("member",), token_digest=b"bob")
MALLORY = Identity(user_id="mallory", project_id="p2", roles=("member",), token_digest=b"mallory")


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def wall(self) -> float:
        return START + self.seconds

    def date(self, offset: float = 0.0) -> bytes:
        """The date that it is, or will be in ``offset`` seconds."""
        return dates.render(self.wall() + offset)


class Origin:
    """Answers every request the same way, and keeps what it was asked.

    ``opened`` may be cleared to hold answers back; ``error`` is raised in place of an answer.
    """

    def __init__(
        self,
        *headers: tuple[bytes, bytes],
        status: int = 200,
        body: bytes = b'{"meta": {"label": "Updated"}}',
    ) -> None:
        self.headers: Headers = list(headers) or [JSON]
        self.status = status
        self.chunks = [body]
        self.error: Exception | None = None
        self.requests: list[dict[str, Any]] = []
        self.opened = asyncio.Event()
        self.opened.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append(scope)
        await self.opened.wait()
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def asked(self, name: bytes) -> bytes | None:
        """A field of the latest request."""
        found: bytes | None = dict(self.requests[-1]["headers"]).get(name)
        return found


def make_cache(origin: Any, time: Time, **options: Any) -> MetadataCache:
    """Return a cache stage in front of ``origin``."""
    options.setdefault("routes", (ITEM_ROUTE, COLLECTION_ROUTE))
    return MetadataCache(origin, monotonic=time.monotonic, wall=time.wall, **options)


async def request(
    cache: Application,
    path: str = ITEM,
    *headers: tuple[str, str],
    method: str = "GET",
    identity: Identity | None = ALICE,
    body: Iterable[bytes] = (b"",),
) -> Answer:
    """Send a request as ``identity``, through a responder as stage 1 has one."""
    exchange = Exchange(request_id="req-1", started=0.0, identity=identity)

    async def line(scope: Any, receive: Any, send: Any) -> None:
        await Responder(exchange, scope, send).run(cache, receive)

    fields = [("host", "api"), *headers]
    return await drive(line, method, path, fields, body, scope_extra={SCOPE_KEY: exchange})


async def turn(count: int = 20) -> None:
    """Let everything that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)
