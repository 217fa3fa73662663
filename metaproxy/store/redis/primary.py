"""The address of the primary: fixed, or as the sentinels say.

Facts this file rests on. After a failover the sentinels learn of it one after the other, within seconds. Each
answer has a configuration epoch, which a failover raises: the highest epoch is the newest answer. A former
primary that the sentinels cannot reach goes on to take writes, and closes no connection. So all sentinels are
asked at once, before each use of a new server and while one is in use; redis-py asks one after the other,
and believes the first.
"""

import asyncio
from typing import NamedTuple, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TimedOut

from metaproxy.store.sentinel_url import SentinelUrl, is_sentinel_url, parse_sentinel_url
from metaproxy.tasks import TaskSet

SENTINEL_SECONDS = 0.4
"""The longest time for the answers of sentinels. It fits into ``CONNECT_SECONDS``."""

NAMELESS = DriverInfo(name="", lib_version="")
"""Sends no CLIENT SETINFO: Redis before 7.2 does not know it, and refuses an ACL that permits it."""

STRAGGLER_SECONDS = 0.02
"""How long the other sentinels are waited for when most have answered."""


class Primary(NamedTuple):
    """The server that takes writes: its URL, and the configuration epoch that made it the primary."""

    url: str
    epoch: int = 0


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


def address_of(url: str) -> Address:
    """Return the way to the primary that ``url`` describes."""
    return Sentinels(parse_sentinel_url(url)) if is_sentinel_url(url) else FixedAddress(url)


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
    """

    may_move = True

    def __init__(self, url: SentinelUrl) -> None:
        self._url = url
        self._clients = [
            Redis.from_url(
                url.of_sentinel(sentinel),
                protocol=2,
                driver_info=NAMELESS,
                socket_timeout=SENTINEL_SECONDS,
                socket_connect_timeout=SENTINEL_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            for sentinel in url.sentinels
        ]
        self._tasks = TaskSet()

    async def primary(self) -> Primary:
        """Return the newest answer. Raises RedisError or OSError if no sentinel knows the service."""
        asked = [self._tasks.start(self._ask(client), name="ask-sentinel") for client in self._clients]
        answers = await _most(asked)
        found = [answer for answer in answers if isinstance(answer, Primary)]
        if found:
            return max(found, key=lambda primary: primary.epoch)
        error = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if error is not None:
            raise error
        raise TimedOut(f"no sentinel answers within {SENTINEL_SECONDS:g} s")

    async def close(self) -> None:
        """Close the connections to the sentinels."""
        await self._tasks.cancel()
        for client in self._clients:
            await client.aclose()

    async def _ask(self, client: Redis) -> Primary | Exception:
        try:
            services = await client.sentinel_masters()
        except (RedisError, OSError) as error:
            return error
        state = services.get(self._url.service) if isinstance(services, dict) else None
        if state is None:
            return MasterNotFoundError(f"a sentinel does not know the service '{self._url.service}'")
        return Primary(self._url.of_server(state["ip"], int(state["port"])), int(state["config-epoch"]))


async def _most(asked: "list[asyncio.Task[Primary | Exception]]") -> list[Primary | Exception]:
    """Return the answers of all; of those that have come, a moment after more than half know the primary."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SENTINEL_SECONDS
    waiting = set(asked)
    while waiting and (left := end - loop.time()) > 0:
        done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        knowing = sum(each.done() and isinstance(each.result(), Primary) for each in asked)
        if 2 * knowing > len(asked):
            end = min(end, loop.time() + STRAGGLER_SECONDS)
    return [each.result() for each in asked if each.done() and not each.cancelled()]
