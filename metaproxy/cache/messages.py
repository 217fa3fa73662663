"""Messages between replicas, and who has acknowledged them."""

import asyncio
from typing import Annotated

import msgspec
import structlog

from metaproxy.store.entries import MOST_TIMES

logger = structlog.get_logger(__name__)


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One message: ``kind`` is begin, end, purge, purge_all or done (the acknowledgement)."""

    kind: str
    sender: str
    number: int
    tags: tuple[str, ...] = ()
    write: int = 0
    settled: bool = True
    to: str = ""
    """Of an acknowledgement: whose message is acknowledged."""
    leaves_entries: bool = False
    """True if the sender could not make the store forget the entries that the message is about."""
    times: Annotated[int, msgspec.Meta(ge=0, le=MOST_TIMES)] = 0
    """How often shared entries were forgotten, as far as the sender knows."""


class Acknowledgements:
    """The replicas that have acknowledged one message."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._more = asyncio.Event()

    def add(self, name: str) -> None:
        """Take note of an acknowledgement."""
        self._names.add(name)
        self._more.set()

    async def wait_for(self, count: int, seconds: float) -> None:
        """Wait for ``count`` of them, at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while len(self._names) < count:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            logger.warning("a replica did not acknowledge; its lease was waited out", missing=count)
