"""What a hit costs: the lookup with the answer's head, and the whole stage around it, in microseconds.

python -m tests.bench.cache
"""

import asyncio
import timeit
from typing import Any

from metaproxy.cache.settings import CacheRoute
from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from metaproxy.filters.cache import MetadataCache

PATH = "/v2.1/images/70a599e0-31e7-49b7-b260-868f441e862b/metadata/label"
ALICE = Identity(user_id="alice", project_id="p1", roles=("member",), token_digest=b"alice")

PLAIN = [
    (b"host", b"127.0.0.1:8774"),
    (b"user-agent", b"openstacksdk/4.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"x-auth-token", b"f064c46a782c444cb4ba4b6434288f7c"),
    (b"connection", b"keep-alive"),
]
VARIANTS = {
    "plain": PLAIN,
    "with a microversion": [*PLAIN, (b"openstack-api-version", b"compute 2.1")],
    "with Cache-Control": [*PLAIN, (b"cache-control", b"max-age=600")],
    "behind a proxy that sets X-Forwarded-Proto": [*PLAIN, (b"x-forwarded-proto", b"https")],
    "conditional": [*PLAIN, (b"if-none-match", b'"other"')],
}


async def origin(scope: Any, receive: Any, send: Any) -> None:
    """Answer as Nova does."""
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"30"),
        (b"openstack-api-version", b"compute 2.1"),
        (b"x-openstack-nova-api-version", b"2.1"),
        (b"vary", b"OpenStack-API-Version"),
        (b"vary", b"X-OpenStack-Nova-API-Version"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b'{"meta": {"label": "Updated"}}'})


def make_scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return the scope of a read with these headers."""
    exchange = Exchange("req-1", 0.0)
    exchange.identity = ALICE
    return {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": headers,
        SCOPE_KEY: exchange,
    }


async def ignore(message: Any) -> None:
    """Stand for the server."""


async def nothing() -> Any:
    """Stand for a request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def measure(name: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Print what a hit with these headers costs."""
    route = CacheRoute(path="/v2.1/images/{image_id}/metadata/{key}", ttl=3600.0)
    cache = MetadataCache(origin, routes=[route])
    scope = make_scope(headers)
    await cache(scope, nothing, ignore)
    exchange: Exchange = scope[SCOPE_KEY]
    assert cache.lookup(exchange, scope) is not None
    rounds = 20_000
    lookup = min(timeit.repeat(lambda: cache.lookup(exchange, scope), number=rounds, repeat=7)) / rounds

    async def handle() -> float:
        started = timeit.default_timer()
        for _ in range(rounds):
            await cache(scope, nothing, ignore)
        return timeit.default_timer() - started

    whole = min([await handle() for _ in range(5)]) / rounds
    print(f"{name:45} lookup {lookup * 1e6:5.2f} µs   whole stage {whole * 1e6:5.2f} µs")


async def main() -> None:
    """Measure every variant."""
    for name, headers in VARIANTS.items():
        await measure(name, headers)


if __name__ == "__main__":
    asyncio.run(main())
