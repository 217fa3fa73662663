"""The last application of the line: the request goes to the upstream, its answer to the client."""

import ssl
from collections.abc import Sequence

import httpx
from starlette.types import Receive, Scope, Send

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import exchange_of
from metaproxy.forward.balancer import Balancer
from metaproxy.forward.breaker import Breaker, BreakerPolicy
from metaproxy.forward.call import Call, Lease, Upstream, idle_lease
from metaproxy.forward.checks import HealthChecks
from metaproxy.forward.heads import HostHeader, RequestHeads
from metaproxy.forward.health import Health, HealthPolicy
from metaproxy.forward.instruments import Instruments
from metaproxy.forward.retry import RetryBudget
from metaproxy.forward.target import Target
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.protocol.mount import Mount
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.metrics import Metrics


class Forward:
    """An ASGI application that answers with what the upstream answers.

    Raises Fault where the upstream gives no answer (502, 503, 504; see ``forward.errors``), also after
    the answer has begun: half an answer never looks like a whole one. Raises ClientDisconnected, and
    breaks off the upstream's request, when the client hangs up. Writes ``exchange.upstream``,
    ``exchange.upstream_request_id`` and the wait for ``upstream``: seconds to the head of the answer.

    Args:
        transport: sends the requests.
        targets: upstreams, as ``http://host:port``, ``https://host:port`` or ``unix:/path``.
        via: our element of the Via that the upstream gets.
        host_header: whose Host the upstream gets.
        strip_prefix: path prefix that is taken off.
        retries: how often a safe request that failed is sent again.
        health: how targets are watched; None does not watch.
        breaker: when a failing target is left alone.
        metrics: where requests are counted.
        clock: monotonic; measures waits and drives the breakers.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        targets: Sequence[str],
        via: bytes = b"1.1 metaproxy",
        host_header: HostHeader = "preserve",
        strip_prefix: str = "",
        retries: int = 1,
        health: HealthPolicy | None = None,
        breaker: BreakerPolicy = BreakerPolicy(),  # noqa: B008 - frozen
        metrics: Metrics | None = None,
        clock: Clock = monotonic,
    ) -> None:
        failing = frozenset(breaker.statuses if len(targets) > 1 else ())
        self.targets = tuple(
            Target(
                name,
                breaker=Breaker(breaker),
                health=Health(health or HealthPolicy()),
                monotonic=clock,
                failing=failing,
            )
            for name in targets
        )
        self._tasks = TaskSet()
        self._upstream = Upstream(
            transport=transport,
            balancer=Balancer(self.targets, monotonic=clock),
            heads=RequestHeads(via=via, host_header=host_header, mount=Mount(strip_prefix)),
            retries=retries,
            budget=RetryBudget(monotonic=clock),
            instruments=Instruments(metrics or Metrics(), self.targets),
            monotonic=clock,
            tasks=self._tasks,
        )
        self._checks: HealthChecks | None = None
        if health is not None:
            self._checks = HealthChecks(
                transport, self.targets, path=health.path, interval=health.interval, monotonic=clock
            )

    def lease(self) -> Lease | None:
        """Return a connection on which a read can be sent at once, without a task; None where none can."""
        return idle_lease(self._upstream)

    def request_line(self, scope: Scope) -> bytes:
        """Return the first line of a request as targets get it; raises httpx.TransportError."""
        return self._upstream.heads.request_line(scope)

    def renew_tls(self, context: ssl.SSLContext) -> None:
        """Open connections with ``context`` from now on, and retire those that are open."""
        if isinstance(self._upstream.transport, UpstreamTransport):
            self._upstream.transport.renew_tls(context)

    async def start(self) -> None:
        """Begin to watch the targets."""
        if self._checks is not None:
            self._checks.start()

    async def close(self) -> None:
        """Watch no more, and close the transport."""
        if self._checks is not None:
            await self._checks.close()
        await self._tasks.cancel()
        await self._upstream.transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface; the line has put its Exchange into the scope."""
        if scope["type"] != "http":
            raise ValueError(f"only HTTP is forwarded, not {scope['type']}")
        await Call(self._upstream, exchange_of(scope), scope)(scope, receive, send)
