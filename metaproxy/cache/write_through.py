"""Writes on their way through: what they concern is forgotten before they go on, and again when they end."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.cache.replicas import Replicas
from metaproxy.cache.routes import CacheRoutes
from metaproxy.protocol import headers
from metaproxy.protocol.caching.invalidation import also_invalidated

UNCERTAIN = frozenset({202})
"""Answers to a write that is not done yet; with every 5xx, its effect is not certain."""


class WriteThrough:
    """Passes writes on."""

    def __init__(self, routes: CacheRoutes, replicas: Replicas) -> None:
        self._routes = routes
        self._replicas = replicas

    async def pass_on(
        self, app: ASGIApp, tags: Sequence[str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let ``app`` answer a write that concerns ``tags``; its answer goes on when they are purged."""
        host = headers.get(scope["headers"], b"host") or b""
        target = scope["raw_path"]
        write = await self._replicas.begin(tags)
        ended = False

        async def end(status: int, fields: headers.Headers) -> None:
            nonlocal ended
            ended = True
            also = self._routes.also_written_tags(also_invalidated(host, target, fields))
            if also:
                await self._replicas.purge(also)
            settled = 0 < status < 500 and status not in UNCERTAIN
            await self._replicas.end(write, tags, settled=settled)

        async def send_after_purge(message: Message) -> None:
            if message["type"] == "http.response.start":
                await end(message["status"], message["headers"])
            await send(message)

        try:
            await app(scope, receive, send_after_purge)
        finally:
            if not ended:
                await end(0, ())
