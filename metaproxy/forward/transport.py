"""The engine behind httpx's interface for transports."""

import asyncio
import ssl
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import NamedTuple

import httpx

from metaproxy.clock import Clock, monotonic
from metaproxy.forward.engine.body import ResponseBody
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.engine.origin import Origin, connect
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.engine.pool import Callback, OpenConnection, Pool, PoolLimits
from metaproxy.forward.engine.request import IDEMPOTENT, OutgoingRequest, outgoing
from metaproxy.forward.engine.waiting import Patience
from metaproxy.forward.errors import ConnectionReset
from metaproxy.forward.seam import httpx_response
from metaproxy.outbox import Outbox
from metaproxy.telemetry.metrics import Metrics


class PoolUse(NamedTuple):
    """The content of a pool right now."""

    origin: str
    busy: int
    idle: int
    queued: int


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Sends requests over HTTP/1.1 and passes everything through as it is.

    The path and query on the wire are ``request.extensions["target"]`` where that is given. Header
    fields keep order and duplicates, bodies stream both ways, nothing is decoded or followed. A request
    that finds its kept-alive connection dead, before any byte of an answer, is repeated once on a new
    one if its method is idempotent and it has no body (RFC 9112 §9.3.1).

    Connections are pooled by the origin of ``request.url``; a unix socket is ``unix:/path``. Origins
    come from the configuration, which bounds their number.

    Args:
        connect_timeout, read_timeout, write_timeout: seconds; the latter two without any byte moved.
        pool_timeout: seconds that a request may wait for a connection.
        max_connections, queue: connections, and requests waiting for one, of each origin.
        keepalive: seconds after which an idle connection is closed.
        connection_age: seconds after which a connection carries no further request.
        ssl_context: for https; the system's certificate authorities by default.
        metrics: where to show the pools, as ``metaproxy_<name>_connections`` and ``…_queued``.
        name: what the other side is, in the names of the metrics.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 2.0,
        read_timeout: float = 30.0,
        write_timeout: float = 30.0,
        pool_timeout: float = 5.0,
        max_connections: int = 256,
        queue: int = 1024,
        keepalive: float = 4.0,
        connection_age: float = 300.0,
        ssl_context: ssl.SSLContext | None = None,
        metrics: Metrics | None = None,
        name: str = "upstream",
        clock: Clock = monotonic,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._patience = Patience(read_timeout, write_timeout)
        self._limits = PoolLimits(
            max_connections=max_connections,
            queue=queue,
            wait_seconds=pool_timeout,
            idle_seconds=keepalive,
            age_seconds=connection_age,
        )
        self._tls = ssl_context
        self._clock = clock
        self._outbox = Outbox()
        self._pools: dict[tuple[bytes, bytes, int | None, bytes], Pool] = {}
        self._show(metrics or Metrics(), name)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and return its response, the body still to be read.

        Raises httpx.TransportError, or what the request's body raises.
        """
        return httpx_response(*await self.send(request.url, outgoing(request)))

    async def send(self, url: httpx.URL, message: OutgoingRequest) -> tuple[ResponseHead, ResponseBody]:
        """Send ``message`` to the origin of ``url``; like ``handle_async_request``."""
        pool = self.pool_of(url)
        connection = pool.take_idle() or await pool.acquire()
        return await self._or_repeated(pool, connection, message, connection.exchange(message))

    async def finish(
        self,
        pool: Pool,
        connection: Connection,
        message: OutgoingRequest,
        head: "asyncio.Future[ResponseHead]",
        body: ResponseBody,
    ) -> tuple[ResponseHead, ResponseBody]:
        """Wait for the response to ``message``, which ``connection`` has sent; like ``send``."""
        return await self._or_repeated(pool, connection, message, connection.response(head, body))

    async def _or_repeated(
        self,
        pool: Pool,
        connection: Connection,
        message: OutgoingRequest,
        response: Awaitable[tuple[ResponseHead, ResponseBody]],
    ) -> tuple[ResponseHead, ResponseBody]:
        """Return ``response``; send the request again if it found ``connection`` dead and may be repeated."""
        try:
            return await response
        except ConnectionReset:
            if not _may_repeat(connection, message):
                raise
        self._repeats.add((pool.name,))
        return await (await pool.acquire(fresh=True)).exchange(message)

    def renew_tls(self, context: ssl.SSLContext) -> None:
        """Open connections with ``context`` from now on, and retire those that are open."""
        self._tls = context
        for origin, pool in self._pools.items():
            if origin[0] == b"https":
                pool.retire()

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def uses(self) -> Iterable[PoolUse]:
        """Yield what each pool holds right now."""
        for pool in self._pools.values():
            yield PoolUse(pool.name, pool.busy, pool.idle, pool.queued)

    def pool_of(self, url: httpx.URL) -> Pool:
        """Return the connections to the origin of ``url``."""
        # Reading scheme, host and port of a URL is cheap, its other forms are not.
        path = url.raw_path if url.raw_scheme == b"unix" else b""
        key = (url.raw_scheme, url.raw_host, url.port, path)
        pool = self._pools.get(key)
        if pool is None:
            origin = Origin.of(url)
            pool = Pool(str(origin), self._opening(origin), limits=self._limits, monotonic=self._clock)
            self._pools[key] = pool
        return pool

    def _opening(self, origin: Origin) -> OpenConnection:
        if origin.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()

        async def open_connection(on_free: Callback, on_lost: Callback) -> Connection:
            factory = partial(
                Connection, self._patience, outbox=self._outbox, on_free=on_free, on_lost=on_lost
            )
            return await connect(origin, factory, tls=self._tls, seconds=self._connect_timeout)

        return open_connection

    def _show(self, metrics: Metrics, name: str) -> None:
        self._repeats = metrics.counter(
            f"metaproxy_{name}_reconnects",
            "Requests repeated because a kept-alive connection had died.",
            ("target",),
        )
        metrics.gauge(
            f"metaproxy_{name}_connections",
            "Open connections.",
            ("target", "state"),
            lambda: (
                ((use.origin, state), getattr(use, state))
                for use in self.uses()
                for state in ("busy", "idle")
            ),
        )
        metrics.gauge(
            f"metaproxy_{name}_queued",
            "Requests that wait for a connection.",
            ("target",),
            lambda: (((use.origin,), use.queued) for use in self.uses()),
        )


def _may_repeat(connection: Connection, message: OutgoingRequest) -> bool:
    """Say whether a request that got no answer may be sent again: nobody can have acted on it twice."""
    reused = connection.requests > 1
    return reused and not connection.answered and message.length == 0 and message.method in IDEMPOTENT
