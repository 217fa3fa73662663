"""The second level: answers that replicas store together, so that one fetches for all.

Ages are kept as dates, because replicas share no monotonic clock: their wall clocks must agree to
within a second or so, as NTP keeps them. The store holds answers' content: it must be as closed to
others as this process is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

import msgspec
import structlog

from metaproxy.cache.memory import Key
from metaproxy.cache.stored import Stored
from metaproxy.clock import Clock
from metaproxy.protocol import headers
from metaproxy.protocol.caching import reuse
from metaproxy.protocol.caching.reuse import Terms, VaryValues
from metaproxy.store.entries import EVERYTHING, Found, SharedEntries

logger = structlog.get_logger(__name__)


WITHDRAWAL_SECONDS = 1.0
"""How long an empty entry stands in the place of one that was withdrawn."""


class _Content(msgspec.Struct, array_like=True, frozen=True):
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    shown_status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    fields: tuple[headers.Header, ...]
    body: bytes
    terms: Terms
    vary: VaryValues
    born: float
    """Wall-clock seconds at which its age was 0."""


@dataclass(slots=True, eq=False)
class SharedAnswer:
    """The answer of the second level: what it has, and what it needs to take a newer one."""

    stored: Stored | None
    found: Found | None


@dataclass(slots=True, eq=False)
class SecondLevel:
    """Stored answers in a store that replicas share; slow or away, it is as if it were empty.

    Args:
        owe: called with the tags of an answer that could not be withdrawn.
    """

    entries: SharedEntries
    monotonic: Clock
    wall: Clock
    owe: Callable[[tuple[str, ...]], None] = lambda _: None

    async def get(self, key: Key, tags: tuple[str, ...]) -> SharedAnswer:
        """Return what is stored under ``key``, for answers with ``tags``."""
        asked_at = self.monotonic()
        try:
            found = await self.entries.get(_name(key), (*tags, EVERYTHING))
            content = _decode(found.content) if found.content else None
        except (OSError, msgspec.DecodeError):
            return SharedAnswer(None, None)
        if content is None:
            return SharedAnswer(None, found)
        stored = Stored(
            status=content.status,
            shown_status=content.shown_status,
            fields=content.fields,
            body=content.body,
            terms=content.terms,
            vary=content.vary,
            tags=tags,
            born=asked_at - max(0.0, self.wall() - content.born),
            asked_at=asked_at,
        )
        return SharedAnswer(stored, found)

    async def withdraw(self, key: Key, tags: tuple[str, ...]) -> None:
        """Let nothing that is stored under ``key`` count any more."""
        try:
            found = await self.entries.get(_name(key), (*tags, EVERYTHING))
            if found.content:
                await self.entries.put(_name(key), b"", found, WITHDRAWAL_SECONDS)
        except OSError:
            await self._forget(tags)

    async def _forget(self, tags: tuple[str, ...]) -> None:
        """Forget all answers with ``tags``: a store without memory takes no entry, but it forgets."""
        try:
            await self.entries.forget(tags or (EVERYTHING,))
        except OSError:
            logger.debug("an answer was not withdrawn at the second level")
            self.owe(tags or (EVERYTHING,))

    async def put(self, key: Key, stored: Stored, asked: SharedAnswer) -> None:
        """Store an answer that was fetched after ``asked`` was returned."""
        if asked.found is None:
            return
        age = stored.age(self.monotonic())
        content = _Content(
            stored.status,
            stored.shown_status,
            stored.fields,
            stored.body,
            stored.terms,
            stored.vary,
            self.wall() - age,
        )
        try:
            await self.entries.put(
                _name(key), msgspec.msgpack.encode(content), asked.found, reuse.useful_for(stored.terms) - age
            )
        except OSError:
            logger.debug("an answer was not stored at the second level")


def _decode(content: bytes) -> _Content:
    """Raises DecodeError for what is not an answer, so that it counts as absent."""
    decoded = msgspec.msgpack.decode(content, type=_Content)
    terms = decoded.terms
    if not all(
        map(math.isfinite, (decoded.born, terms.lifetime, terms.stale_while_revalidate, terms.stale_if_error))
    ):
        raise msgspec.ValidationError("not a moment")
    return decoded


def _name(key: Key) -> bytes:
    """A short name for ``key``: what it is made of stays in this process."""
    return blake2b(repr(key).encode(), digest_size=20).hexdigest().encode()
