"""What the tests of the cache share: a clock that stands, an origin that counts, an identity."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from metaproxy.cache.routes import CacheRoute
from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from metaproxy.filters.cache import MetadataCache
from metaproxy.protocol.caching import dates
from tests.asgi_driver import Answer, drive

ITEM = "/v2.1/images/i1/metadata/label"
COLLECTION = "/v2.1/images/i1/metadata"
START = 1_800_000_000.0

ITEM_ROUTE = CacheRoute(path="/v2.1/images/{image_id}/metadata/{key}", ttl=60.0, negative_ttl=5.0)
COLLECTION_ROUTE = CacheRoute(path="/v2.1/images/{image_id}/metadata", ttl=60.0)


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def wall(self) -> float:
        return START + self.seconds

    def date(self, offset: float = 0.0) -> bytes:
        return dates.render(self.wall() + offset)


@dataclass
class Origin:
    """Answers every request the same way, and keeps what it was asked."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(
        default_factory=lambda: [(b"content-type", b"application/json")]
    )
    body: bytes = b'{"meta": {"label": "Updated"}}'
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append(scope)
        await self.answer(scope, receive, send)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the answer; subclasses do it their own way."""
        start = {"type": "http.response.start", "status": self.status, "headers": list(self.headers)}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})

    def asked(self, name: bytes) -> bytes | None:
        """A field of the latest request."""
        found: bytes | None = dict(self.requests[-1]["headers"]).get(name)
        return found


ALICE = Identity(user_id="alice", project_id="p1", roles=("member",), token_digest=b"alice")
BOB = Identity(user_id="bob", project_id="p1", roles=("member",), token_digest=b"bob")
MALLORY = Identity(user_id="mallory", project_id="p2", roles=("member",), token_digest=b"mallory")


def make_cache(origin: Any, time: Time, **options: Any) -> MetadataCache:
    """Return a cache stage in front of ``origin``."""
    options.setdefault("routes", (ITEM_ROUTE, COLLECTION_ROUTE))
    return MetadataCache(origin, monotonic=time.monotonic, wall=time.wall, **options)


async def request(
    cache: MetadataCache,
    path: str = ITEM,
    *,
    method: str = "GET",
    identity: Identity | None = ALICE,
    headers: Iterable[tuple[Any, Any]] = (),
) -> Answer:
    """Send a request as ``identity``."""
    exchange = Exchange(request_id="req-1", started=0.0, identity=identity)
    fields = [("host", "api"), *headers]
    return await drive(cache, method, path, fields, scope_extra={SCOPE_KEY: exchange})
