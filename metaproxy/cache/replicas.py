"""Replicas: what is written through one is forgotten by all before the writer has its answer.

**The guarantee.** A read that starts after a write has been answered, through any replica, never gets
from memory what was there before the write. Its conditions: writes go through the replicas, the origin
itself answers with what was last written, and the writing replica can reach the broadcast.

**How.** A write is told twice: before it is sent, and when it has answered, before the client sees
that. Every replica purges what the write concerns, stores nothing of it in between, and acknowledges;
the writer waits until all that got the message have done so. One may not: so every replica holds
a lease: it trusts its memory for ``lease_seconds`` after the broadcast sent a heartbeat that came back
over the connection that listens. Messages come in order, so a replica that trusts its memory a lease after
a message was published has received that message. Waiting one lease is therefore always enough;
acknowledgements only make it short. A replica cut off from the broadcast answers nothing from memory once
its lease is over: it asks the origin, with the stored validators where there are any.

**Reads among themselves.** While the replicas are in touch, no read gets an older value than one that
ended before it began: together they are one register. A replica that joins, or comes back, while a write
is under way can hold the old value until that write is answered.

**Without the broadcast** a writing replica waits out the others' leases once, after the connection was
lost, and a replica that comes back waits a lease before it trusts its memory again, so that those who
were lost with it are back too. So the guarantee holds where all lose the broadcast. If this one alone is
cut off, the others may answer from memory what was there before the write until it is told them, as soon
as the broadcast is back, or until their ttl ends.

**What replicas store together** is read only by a replica that is in touch, and only from a server that would
forget an entry in the same round trip. It is emptied if it may have missed a purge:

    a replica could not have entries forgotten   its message says so: every receiver counts as cut off
    a replica was cut off and comes back         it empties the store before it trusts its memory again
    a replica starts                             it empties the store, unless another is in touch
    the data of the store go back in time        the first that reads there or purges empties it; a replica
                                                 that starts asks the others how often entries were forgotten

**A former primary** that is cut off from the sentinels goes on to take messages, and hands them to its own
subscribers alone. So what was told in the last seconds before a loss is told again.

A replica in touch leaves a sign in the store for the last one (``sign``).
"""

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import structlog

from metaproxy.cache.debts import Debts
from metaproxy.cache.messages import Acknowledgements, Message
from metaproxy.cache.purges import Purges
from metaproxy.cache.sign import Sign
from metaproxy.cache.trust import Trust
from metaproxy.clock import Clock
from metaproxy.store.broadcast import LEASE_SECONDS, Broadcast
from metaproxy.store.entries import EVERYTHING, SharedEntries
from metaproxy.tasks import TaskSet

CHANNEL = "cache"
logger = structlog.get_logger(__name__)

_numbers = itertools.count(1)
"""Of messages and writes, for all caches of this process: they may share a connection."""


class Purged(NamedTuple):
    """The outcome of a purge."""

    keys: int
    """How many keys this process had."""
    is_told: bool
    """True if the store and the other replicas have been told; else they will be as soon as they can be."""


class Replicas:
    """Tells the other replicas of writes and purges, and does what they tell.

    Args:
        entries: what replicas have stored together, if they do; told first.
        debts: what a cache before this one had to tell; None if there was none.
        lease_seconds: how long memory is trusted after a sign that messages arrive.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        purges: Purges,
        *,
        monotonic: Clock,
        entries: SharedEntries | None = None,
        debts: Debts | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.trust = Trust()
        self._broadcast = broadcast
        self._purges = purges
        self._entries = entries
        self._monotonic = monotonic
        self._lease_seconds = lease_seconds
        self._waiting: dict[int, Acknowledgements] = {}
        self._debts = Debts() if debts is None else debts
        self._lost_at = monotonic()
        # A cache that begins with debts counts as cut off until they are paid.
        self._was_lost = bool(self._debts)
        self._back_since = math.inf
        self._losses = 0
        self._sign = Sign(entries, lease_seconds) if entries is not None else None
        self._may_trust_entries = entries is None
        self._tasks = TaskSet()
        if not broadcast.lossless:
            self.trust.end()
        self._unsubscribe = broadcast.subscribe(CHANNEL, self._receive, self._lose, self._confirm)

    async def close(self) -> None:
        """Listen no more."""
        self._unsubscribe()
        await self._tasks.cancel()

    def now(self) -> float:
        """Return the time on the clock of leases."""
        return self._monotonic()

    @property
    def is_in_touch(self) -> bool:
        """True if this process hears of every write through another replica; else no stored answer counts."""
        now = self._monotonic()
        return self.trust.covers(now, now)

    @property
    def is_cut_off(self) -> bool:
        """True if it is out of touch, and not only because it has just started."""
        is_starting = not self._was_lost and self._monotonic() < self._lost_at + self._lease_seconds
        return not (self.is_in_touch or is_starting)

    async def begin(self, tags: Sequence[str]) -> int:
        """Tell that a write is about to be sent, and return its number.

        Returns when no replica answers from memory what the write concerns.
        """
        write = next(_numbers)
        self._purges.begin((self._broadcast.name, write), tags)
        await self._tell("begin", tags, write=write)
        return write

    async def end(self, write: int, tags: Sequence[str], *, settled: bool) -> None:
        """Tell that a write has answered; return when every replica has forgotten what was before."""
        self._purges.end((self._broadcast.name, write), tags, settled=settled)
        await self._tell("end", tags, write=write, settled=settled)

    async def purge(self, tags: Sequence[str]) -> Purged:
        """Have every replica purge ``tags``."""
        if not tags:
            return Purged(0, is_told=True)
        count = self._purges.tags(tags)
        return Purged(count, await self._tell("purge", tags))

    async def purge_all(self) -> Purged:
        """Have every replica purge everything."""
        count = self._purges.all()
        return Purged(count, await self._tell("purge_all", ()))

    def owe(self, tags: Sequence[str]) -> None:
        """Take note that an entry with ``tags`` could not be withdrawn: trust nothing until it is purged."""
        self._lose_entries()
        self._debts.owe(tags)

    async def _tell(self, kind: str, tags: Sequence[str], *, write: int = 0, settled: bool = True) -> bool:
        """Have the store and the other replicas purge; return whether they could be told."""
        number = next(_numbers)
        acknowledged = self._waiting[number] = Acknowledgements()
        try:
            forgotten = await self._forget(tags)
            # The others purge what they have themselves in any case.
            reached = await self._publish(
                Message(
                    kind,
                    self._broadcast.name,
                    number,
                    tuple(tags),
                    write,
                    settled,
                    leaves_entries=not forgotten,
                    times=self._times,
                )
            )
            await acknowledged.wait_for(reached, self._lease_seconds)
        except OSError:
            forgotten = False
        finally:
            del self._waiting[number]
        if not forgotten:
            self._lose_entries()
            self._debts.owe(tags)
            await asyncio.sleep(max(0.0, self._lost_at + self._lease_seconds - self._monotonic()))
        elif not self._broadcast.lossless:
            self._debts.note_told(self._monotonic(), tags)
        return forgotten

    @property
    def _times(self) -> int:
        return 0 if self._entries is None else self._entries.times

    async def _forget(self, tags: Sequence[str]) -> bool:
        """Have the store forget the entries with ``tags``, or all; return whether it has."""
        if self._entries is None:
            return True
        try:
            await self._entries.forget(tags or (EVERYTHING,))
        except OSError:
            return False
        return True

    async def _publish(self, message: Message) -> int:
        reached = await self._broadcast.publish(CHANNEL, msgspec.json.encode(message))
        if reached == 0 and not self._broadcast.lossless:
            # Not even this replica listens there. Others may listen to the same former server, and trust it.
            raise ConnectionError("no replica listens to the server that took the message")
        return reached

    def _lose(self) -> None:
        if self.trust.until >= self.trust.since:
            logger.warning("cache replicas out of touch: the origin is asked until they are back")
            self._lost_at = self._monotonic()
            self._was_lost = True
        self._back_since = math.inf
        self._losses += 1
        self._debts.doubt_told(self._monotonic())
        self.trust.end()
        self._purges.doubt()

    def _lose_entries(self) -> None:
        """Count as cut off, also before the first trust: the store must be emptied."""
        self._lose()
        self._was_lost = self._was_lost or self._sign is not None

    def _receive(self, payload: bytes) -> None:
        try:
            message = msgspec.json.decode(payload, type=Message)
        except msgspec.DecodeError:
            # A newer version may say what this one cannot read: rather forget too much.
            self._purges.all()
            return
        if self._entries is not None:
            self._entries.times = max(self._entries.times, message.times)
        if message.kind == "done":
            if message.to == self._broadcast.name and message.number in self._waiting:
                self._waiting[message.number].add(message.sender)
        elif message.kind != "beat":  # older versions send those over this channel
            self._do(message)
            if message.leaves_entries:
                self._lose_entries()
            self._acknowledge(message)

    def _confirm(self, moment: float) -> None:
        lease_end = moment + self._lease_seconds
        if self._was_lost:
            self._come_back(lease_end)
        elif not self._may_trust_entries:
            self._tasks.start(self._trust_at_first(lease_end), name="cache-first-trust")
        else:
            self.trust.renew(self._monotonic(), lease_end)
            if self._sign is not None and self._sign.is_due(moment):
                self._tasks.start(self._sign.leave(), name="cache-sign")
        if self._debts:
            self._tasks.start(self._pay(self._debts.take()), name="cache-tell")

    async def _pay(self, tags: Sequence[str]) -> None:
        try:
            await self._tell("purge" if tags else "purge_all", tags)
        except asyncio.CancelledError:
            self._debts.owe(tags)  # the cache that comes next pays
            raise

    def _come_back(self, lease_end: float) -> None:
        """After a gap, trust again only a lease later: until then, others may still write without a word."""
        now = self._monotonic()
        self._back_since = min(self._back_since, now)
        if now >= self._back_since + self._lease_seconds:
            self._tasks.start(self._trust_again(lease_end), name="cache-return")

    async def _trust_again(self, lease_end: float) -> None:
        """Forget what replicas had stored together, where a write may be missing; then trust."""
        if await self._forget(()) and self._back_since < math.inf:
            self._was_lost, self._may_trust_entries = False, True
            self.trust.renew(self._monotonic(), lease_end)

    async def _trust_at_first(self, lease_end: float) -> None:
        """Trust after the start; forget what replicas had stored together if nobody has watched over it."""
        losses = self._losses
        # A replica that did not reach the store when it started may have missed what the others were told.
        is_prompt = self._monotonic() < self._lost_at + self._lease_seconds
        is_watched = (
            is_prompt and self._sign is not None and await self._greet() and await self._sign.is_there()
        )
        if (is_watched or await self._forget(())) and self._losses == losses:
            self._may_trust_entries = True
            self.trust.renew(self._monotonic(), lease_end)

    async def _greet(self) -> bool:
        """Ask every replica in touch how often entries were forgotten; return False if that fails."""
        number = next(_numbers)
        acknowledged = self._waiting[number] = Acknowledgements()
        try:
            # The purge of nothing: versions that know no count acknowledge it as well.
            reached = await self._publish(Message("purge", self._broadcast.name, number))
            await acknowledged.wait_for(reached, self._lease_seconds)
        except OSError:
            return False
        finally:
            del self._waiting[number]
        return True

    def _do(self, message: Message) -> None:
        write = message.sender, message.write
        match message.kind:
            case "begin":
                self._purges.begin(write, message.tags)
            case "end":
                self._purges.end(write, message.tags, settled=message.settled)
            case "purge":
                self._purges.tags(message.tags)
            case _:
                self._purges.all()

    def _acknowledge(self, message: Message) -> None:
        if message.sender == self._broadcast.name:
            if message.number in self._waiting:
                self._waiting[message.number].add(message.sender)
            return
        done = Message("done", self._broadcast.name, message.number, to=message.sender, times=self._times)
        self._tasks.start(self._publish_acknowledgement(done), name="cache-acknowledge")

    async def _publish_acknowledgement(self, done: Message) -> None:
        try:
            await self._publish(done)
        except OSError:
            return
