"""Asking each target now and then whether it still works."""

import asyncio
from collections.abc import Sequence

import httpx
import structlog

from metaproxy.clock import Clock
from metaproxy.forward.target import Target
from metaproxy.tasks import TaskSet

logger = structlog.get_logger(__name__)


class HealthChecks:
    """Asks each target for ``policy.path`` every ``policy.interval`` seconds.

    Any answer below 500 is a success: the target is there and works, whatever it thinks of a request
    without a token. No answer within the interval is a failure.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        targets: Sequence[Target],
        *,
        path: str,
        interval: float,
        monotonic: Clock,
    ) -> None:
        self._transport = transport
        self._targets = targets
        self._extensions = {"target": path.encode("ascii")}
        self._interval = interval
        self._monotonic = monotonic
        self._tasks = TaskSet()

    def start(self) -> None:
        """Begin to check, in the background."""
        for target in self._targets:
            self._tasks.start(self._check_for_ever(target), name=f"health of {target.name}")

    async def close(self) -> None:
        """Check no more."""
        await self._tasks.cancel()

    async def check(self, target: Target) -> None:
        """Ask ``target`` once."""
        was_healthy = target.health.is_healthy
        healthy = await self._answers(target)
        target.health.checked(self._monotonic(), healthy=healthy)
        if target.health.is_healthy != was_healthy:
            logger.warning("upstream health", target=target.name, healthy=not was_healthy)

    async def _check_for_ever(self, target: Target) -> None:
        while True:
            await self.check(target)
            await asyncio.sleep(self._interval)

    async def _answers(self, target: Target) -> bool:
        request = httpx.Request(
            "GET",
            target.url,
            headers=[(b"host", target.authority), (b"user-agent", b"metaproxy-health")],
            stream=httpx.ByteStream(b""),
            extensions=self._extensions,
        )
        try:
            async with asyncio.timeout(self._interval):
                response = await self._transport.handle_async_request(request)
                await response.aclose()
        except httpx.PoolTimeout:
            # A queue of our own says nothing new about the target.
            return target.health.is_healthy
        except (httpx.TransportError, TimeoutError):
            return False
        return response.status_code < 500
