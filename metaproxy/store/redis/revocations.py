"""Recorded revocations in Redis: one sorted set, by the time of the server's clock.

Facts this file rests on. Redis may lose the set: it restarts empty, evicts the key, or another server takes
its place. A member with a random name and an infinite score marks one life of the set. As long as the mark
that was read first is there, nothing that was recorded since has been lost. But a server that is started
again or becomes the primary may have the mark and lack the last writes, so its run id must be the same, too;
if the user may not know it (INFO), only the mark counts.
"""

import math
import secrets
from collections.abc import Sequence
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from metaproxy.store.causes import cause_of
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.connections import Command
from metaproxy.store.revocations import KEPT_SECONDS, MAX_RECORDED, Record, Recorded
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

logger = structlog.get_logger(__name__)

MARK = b"mark:"

NOT_RECORDED = "revocations are not recorded"
NOT_READ = "recorded revocations cannot be read"
OVERLAP_SECONDS = 60.0
"""Readings overlap: a revocation gets its time a moment before it is recorded."""

RECORD_SECONDS = 0.5
"""A reading may take longer than ``store.timeout``, because no request waits for it."""


class RedisRecord:
    """The revocations that replicas have recorded, in Redis.

    Args:
        store: the connection; its prefix begins the key.
    """

    def __init__(self, store: SharedStore) -> None:
        self._use = store.use("revocations", timeout_seconds=max(store.timeout_seconds, RECORD_SECONDS))
        self._key = store.key("revocations")
        self._logged: set[str] = set()
        self._mark: bytes | None = None
        self._run_id: object = None
        self._read_until = -math.inf

    async def add(self, entries: Sequence[Recorded]) -> None:
        """Record ``entries``; raises OSError."""
        await self._attempt(lambda client: self._add(client, entries), NOT_RECORDED)

    async def read(self) -> Record:
        """Return what was recorded since the last reading; raises OSError."""
        return await self._attempt(self._read, NOT_READ)

    async def _attempt(self, command: Command[T], failing: str) -> T:
        """Do ``command``; ``failing`` says what it means if that cannot be done."""
        try:
            answer = await self._use.attempt(command)
        except StoreUnavailable as error:
            self._log(failing, error.__cause__)
            self._use.note(failing, error)
            raise ConnectionError("the recorded revocations cannot be reached") from error
        self._use.note(failing, None)
        self._logged.discard(failing)
        return answer

    def _log(self, failing: str, error: BaseException | None) -> None:
        """Log once what the server says. That it cannot be reached is logged by others."""
        if not isinstance(error, ResponseError):
            return
        if not self._logged:
            reason, detail = cause_of(error)
            logger.warning("revocations are not recorded", reason=reason, detail=detail)
        self._logged.add(failing)

    async def _add(self, client: Redis, entries: Sequence[Recorded]) -> None:
        now = _seconds(await client.time())
        pipeline = client.pipeline(transaction=False)
        pipeline.zadd(self._key, {entry.payload: now - entry.age for entry in entries})
        pipeline.zremrangebyscore(self._key, "-inf", now - KEPT_SECONDS)
        pipeline.zremrangebyrank(self._key, 0, -(MAX_RECORDED + 2))  # the mark is the last
        await pipeline.execute()

    async def _read(self, client: Redis) -> Record:
        pipeline = client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrangebyscore(self._key, self._read_until - OVERLAP_SECONDS, "+inf", withscores=True)
        pipeline.info("server")
        time, found, server = await pipeline.execute(raise_on_error=False)
        if isinstance(time, Exception):
            raise time
        if isinstance(found, ResponseError) and str(found).startswith("WRONGTYPE"):
            await client.delete(self._key)  # a value that cannot be read counts as absent
            found = []
        if isinstance(found, Exception):
            raise found
        now = _seconds(time)
        marks = [member for member, _ in found if member.startswith(MARK)]
        run_id = server.get("run_id") if isinstance(server, dict) else self._run_id
        is_whole = self._mark is None or (self._mark in marks and run_id == self._run_id)
        if not is_whole and self._read_until > -math.inf:
            # Another set: what it holds may be older than the last reading.
            found = await client.zrangebyscore(self._key, "-inf", "+inf", withscores=True)
        if not marks:
            marks = [MARK + secrets.token_hex(8).encode()]
            await client.zadd(self._key, {marks[0]: math.inf})
        is_everything = not is_whole or self._read_until == -math.inf
        self._mark, self._run_id, self._read_until = marks[0], run_id, now
        entries = [
            Recorded(member, max(0.0, now - moment))
            for member, moment in found
            if not member.startswith(MARK)
        ]
        life = b"%b %s" % (self._mark, str(run_id).encode())
        return Record(entries, is_whole=is_whole, is_everything=is_everything, life=life)


def _seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1_000_000
