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
        failure = await self._failure(target)
        if failure is None:  # a queue of our own says nothing new about the target
            return
        target.health.checked(self._monotonic(), healthy=not failure)
        if target.health.is_healthy != was_healthy:
            logger.warning("upstream health", target=target.name, healthy=not was_healthy, reason=failure)

    async def _check_for_ever(self, target: Target) -> None:
        while True:
            await self.check(target)
            await asyncio.sleep(self._interval)

    async def _failure(self, target: Target) -> str | None:
        """Ask ``target``; return why it is not well, "" if it is, None if that cannot be said."""
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
            return None
        except TimeoutError:
            return f"no answer within {self._interval:g} s"
        except httpx.TransportError as error:
            return str(error) or type(error).__name__
        return f"status {response.status_code}" if response.status_code >= 500 else ""
