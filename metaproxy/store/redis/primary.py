"""The address of the primary: fixed, or as the sentinels say.

Facts this file rests on. After a failover the sentinels learn of it one after the other, within seconds. Each
answer has a configuration epoch, which a failover raises: the highest epoch is the newest answer. A former
primary that the sentinels cannot reach goes on to take writes, and closes no connection. So all sentinels are
asked at once, before each use of a new server and while one is in use; redis-py asks one after the other,
and believes the first.
"""

import asyncio
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TimedOut

from metaproxy.store.redis.opening import Opening
from metaproxy.store.sentinel_url import Sentinel, SentinelUrl, is_sentinel_url, parse_sentinel_url
from metaproxy.tasks import TaskSet

REST_SECONDS = 0.4
"""How long the other sentinels are waited for when the first has answered."""

STRAGGLER_SECONDS = 0.02
"""How long the other sentinels are waited for when most have answered."""


class Primary(NamedTuple):
    """The server that takes writes: its URL, and the configuration epoch that made it the primary."""

    url: str
    epoch: int = 0

    @property
    def address(self) -> str:
        """Its host and port, or its path, without the login."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or parts.path


class SentinelFailed(ConnectionFailed):
    """A sentinel did not say where the primary is; ``__cause__`` is the error."""


class Address(Protocol):
    """The way to the primary."""

    @property
    def may_move(self) -> bool:
        """True if another URL may be right later."""
        ...

    async def primary(self) -> Primary:
        """Return where the primary is now; raises RedisError or OSError."""
        ...

    async def close(self) -> None:
        """Close what is open to find it."""
        ...


def address_of(url: str, *, opening: Opening, seconds: float) -> Address:
    """Return the way to the primary that ``url`` describes; finding it may take ``seconds``."""
    if is_sentinel_url(url):
        return Sentinels(parse_sentinel_url(url), opening=opening, seconds=seconds)
    return FixedAddress(url)


class FixedAddress:
    """One URL that leads to the primary."""

    may_move = False

    def __init__(self, url: str) -> None:
        self._primary = Primary(url)

    async def primary(self) -> Primary:
        """Return the URL."""
        return self._primary

    async def close(self) -> None:
        """Nothing is open."""


class Sentinels:
    """The sentinels of one service.

    Args:
        url: their addresses, the name of the service, and how to log in.
        opening: makes the clients.
        seconds: how long an answer may take, connecting included.
    """

    may_move = True

    def __init__(self, url: SentinelUrl, *, opening: Opening, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._clients = {
            sentinel: opening.client(
                url.of_sentinel(sentinel), socket_timeout=seconds, socket_connect_timeout=seconds
            )
            for sentinel in url.sentinels
        }
        self._asked: dict[Sentinel, asyncio.Task[Primary | SentinelFailed]] = {}
        self._tasks = TaskSet()

    async def primary(self) -> Primary:
        """Return the newest answer. Raises RedisError or OSError if no sentinel knows the service."""
        for sentinel, client in self._clients.items():
            running = self._asked.get(sentinel)
            if running is None or running.done():  # a silent one is asked once at a time
                asked = self._ask(sentinel, client)
                self._asked[sentinel] = self._tasks.start(asked, name="ask-sentinel")
        answers = await _most(list(self._asked.values()), self._seconds)
        found = [answer for answer in answers if isinstance(answer, Primary)]
        if found:
            return max(found, key=lambda primary: primary.epoch)
        errors = [answer for answer in answers if isinstance(answer, SentinelFailed)]
        # A refusal says more than silence.
        telling = [error for error in errors if not isinstance(error.__cause__, TimeoutError | TimedOut)]
        if telling:
            raise telling[0]
        raise TimedOut(f"no sentinel answers within {self._seconds:g} s")

    async def close(self) -> None:
        """Close the connections to the sentinels."""
        await self._tasks.cancel()
        for client in self._clients.values():
            await client.aclose()

    async def _ask(self, sentinel: Sentinel, client: Redis) -> Primary | SentinelFailed:
        try:
            services = await client.sentinel_masters()
            state = services.get(self._url.service) if isinstance(services, dict) else None
            if state is None:
                raise MasterNotFoundError(f"the service '{self._url.service}' is unknown")
        except (RedisError, OSError) as error:
            failed = SentinelFailed(f"the sentinel at {sentinel.host}:{sentinel.port}: {error}")
            failed.__cause__ = error
            return failed
        return Primary(self._url.of_server(state["ip"], int(state["port"])), int(state["config-epoch"]))


async def _most(
    asked: "list[asyncio.Task[Primary | SentinelFailed]]", seconds: float
) -> list[Primary | SentinelFailed]:
    """Return the answers of all; of those that have come, a while after the first knows the primary.

    The while is shorter if more than half know it.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    waiting = set(asked)
    while waiting and (left := end - loop.time()) > 0:
        done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        knowing = sum(each.done() and isinstance(each.result(), Primary) for each in asked)
        if knowing:
            rest = STRAGGLER_SECONDS if 2 * knowing > len(asked) else REST_SECONDS
            end = min(end, loop.time() + rest)
    return [each.result() for each in asked if each.done() and not each.cancelled()]
