"""Revocations made by an operator, sent to every process that holds verdicts.

A message carries a token's SHA-256, never the token. A process that was away for a while reads what was
recorded meanwhile. If that cannot be known, it doubts: identity is asked about each token once more.

    state      event                          what is done                               next state
    starting   the broadcast confirms         read the record, then start                in touch
    starting   no reading for START_SECONDS   read it once, start                        behind
    in touch   the broadcast is lost          a lease begins                             behind
    behind     the broadcast confirms         read the record                            behind
    behind     the record was read, whole     apply it                                   in touch
    behind     it was read and is not whole   apply it; doubt, if that was not done yet  in touch
    behind     it could not be read           read it when the broadcast next confirms   behind
    behind     it was not read for a lease    doubt                                      behind
    in touch   it was not read for a while    read it, so that what it has lost is recorded again

A process that read the record after an outage asks the others what they could not record; they tell it again.

So a revocation reaches every process within two leases and the time that it takes to connect and to read,
or the process trusts no verdict that is older. A process that stood still notices by the clock that nothing
was confirmed for so long (``validator.validity``): no verdict counts, and none that identity gives, until it
is in touch or doubts. Without a record (``record`` is None), each loss is doubted at once.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation, RevocationError
from metaproxy.store.broadcast import BEATS_A_LEASE, LEASE_SECONDS, Broadcast, Unsubscribe
from metaproxy.store.revocations import MAX_RECORDED, Record, Recorded, RevocationRecord
from metaproxy.tasks import TaskSet

CHANNEL = "revocations"
MISSED_CHANNEL = "revocations-missed"
"""The channel for a process that may have missed something."""

START_SECONDS = 2.0
"""The longest time for which ``start`` waits for the broadcast and the record. Then it tries to read once."""

LEASES_IN_FORCE = 2.5
"""How long verdicts count after a confirmation: a loss is noticed after one lease, and doubted one later."""

LEASES_A_READING = 5
"""How often the record is read although nothing was missed: the store may have lost what others need."""

SAME_SECONDS = 2.0
"""A revocation that is recorded so much later than it was received was made once more."""

logger = structlog.get_logger(__name__)


class NotRecorded(ConnectionError):
    """The replicas that run were told of a revocation, and nothing tells those that start later."""


class Revocations:
    """Revokes tokens here and in every other process.

    Args:
        record: where revocations are recorded for processes that are away.
        lease_seconds: how long verdicts are trusted after the broadcast was lost.
        start_seconds: how long ``start`` waits for the record.
    """

    def __init__(
        self,
        validator: CachedValidator,
        broadcast: Broadcast,
        record: RevocationRecord | None = None,
        *,
        lease_seconds: float = LEASE_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._validator = validator
        self._broadcast = broadcast
        self._record = record
        self._lease_seconds = lease_seconds
        self._start_seconds = start_seconds
        self._has_read = asyncio.Event()
        """Set once the record was read."""
        self._unsubscribe: list[Unsubscribe] = []
        self._is_deaf = False
        self._is_behind = False
        """True from a loss until the record was read."""
        self._outages = 0
        self._answered_outages = 0
        """Up to which outage the others were asked what could not be recorded."""
        self._was_doubted = False
        self._must_read = True
        self._untold: dict[bytes, None] = {}
        self._unrecorded: dict[bytes, None] = {}
        self._unreadable: dict[bytes, None] = {}
        self._read_at = -math.inf
        self._doubting: asyncio.TimerHandle | None = None
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Listen to what other processes revoke, and read what was recorded before.

        Returns after ``start_seconds`` and one more try at the latest: a store that does not answer keeps no
        process from starting.
        """
        if not self._unsubscribe:
            self._unsubscribe.append(
                self._broadcast.subscribe(CHANNEL, self._received, self._lost, self._confirmed)
            )
            if self._record is not None:
                self._unsubscribe.append(self._broadcast.subscribe(MISSED_CHANNEL, self._asked, _ignore_loss))
                await self._read_at_start(self._record)

    async def _read_at_start(self, record: RevocationRecord) -> None:
        """Wait until the broadcast has confirmed and then the record was read, so that nothing is missed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_seconds):
                await self._has_read.wait()
        if not self._has_read.is_set():
            await self._tasks.cancel()
            # The messages do not arrive, but the record may be readable all the same.
            await asyncio.wait(
                (self._tasks.start(self._catch_up(record, -math.inf), name="read-revocations"),)
            )
            self._must_read = True
        if not self._has_read.is_set():
            logger.warning("recorded revocations cannot be read; identity alone is asked until they can")

    async def close(self) -> None:
        """Listen no more."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
        self._stop_doubting()
        self._validator.validity.renew()
        await self._tasks.cancel()

    async def revoke(self, revocation: Revocation) -> int:
        """Revoke here, tell the others, and return how many verdicts this process had.

        Raises OSError where the others could not be told, NotRecorded where those that start later will not
        know. Here it is done even then, and the rest is done as soon as the store allows it.
        """
        forgotten = self._validator.revoke(revocation)
        logger.info("tokens revoked", forgotten=forgotten)
        payload = revocation.payload()
        _remember(self._untold, payload)
        if self._record is not None:
            _remember(self._unrecorded, payload)
        self._must_read = True  # what fails now is done again when the broadcast confirms the next time
        await self._announce({payload: 0.0})
        if payload in self._unrecorded:
            raise NotRecorded("the store takes no record of the revocation")
        return forgotten

    async def _announce(self, ages: Mapping[bytes, float]) -> None:
        """Record and tell what the others lack; raises OSError. ``ages`` are those of revocations."""
        unrecorded = [Recorded(payload, ages.get(payload, 0.0)) for payload in self._unrecorded]
        if self._record is not None and unrecorded:
            with suppress(OSError):
                await self._record.add(unrecorded)  # first, so that whoever misses the message finds it
                _forget(self._unrecorded, unrecorded)
        for payload in list(self._untold):
            await self._broadcast.publish(CHANNEL, payload)
            self._untold.pop(payload, None)

    def _received(self, payload: bytes) -> None:
        self._apply(Recorded(payload, 0.0))

    def _asked(self, payload: bytes) -> None:
        """Tell again what is not recorded, when the broadcast confirms the next time."""
        self._untold.update(self._unrecorded)

    def _apply(self, entry: Recorded) -> None:
        try:
            self._validator.revoke(Revocation.from_payload(entry.payload), age=entry.age)
        except RevocationError:
            if entry.payload in self._unreadable and entry.age > 0.0:
                return
            # A newer version may name what this one does not know: rather ask once too often.
            _remember(self._unreadable, entry.payload)
            logger.warning("a revocation could not be read; every token is asked about anew")
            self._validator.doubt()

    def _lost(self) -> None:
        if self._record is None:
            self._validator.doubt()
        elif not self._is_deaf:
            self._distrust_shared()
            self._is_deaf = self._is_behind = self._must_read = True
            self._was_doubted = False
            self._outages += 1
            if self._doubting is None:
                self._doubt_in_a_lease(may_stand_still=True)

    def _confirmed(self, moment: float) -> None:
        self._is_deaf = False
        if self._record is None:
            return
        if not self._is_behind:
            self._trust(moment)
        is_due = self._must_read or moment >= self._read_at + LEASES_A_READING * self._lease_seconds
        if is_due and not len(self._tasks):
            self._tasks.start(self._catch_up(self._record, moment), name="read-revocations")

    def _trust(self, moment: float) -> None:
        """Let verdicts count, because nothing is missing that was revoked before ``moment``."""
        self._validator.validity.renew(moment + LEASES_IN_FORCE * self._lease_seconds)

    def _doubt_in_a_lease(self, *, may_stand_still: bool) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._lease_seconds
        self._doubting = loop.call_at(due, self._doubt_in_time, due, may_stand_still)

    def _doubt_in_time(self, due: float, may_stand_still: bool) -> None:
        self._doubting = None
        late = asyncio.get_running_loop().time() - due
        if may_stand_still and late > self._lease_seconds / BEATS_A_LEASE:
            self._doubt_in_a_lease(may_stand_still=False)  # the store had no time to answer
        else:
            self._doubt()

    def _doubt(self) -> None:
        self._was_doubted = True
        logger.warning("revocations of other replicas may be missing; every token is asked about anew")
        self._validator.doubt()
        self._validator.validity.renew()  # identity alone decides

    def _stop_doubting(self) -> None:
        if self._doubting is not None:
            self._doubting.cancel()
            self._doubting = None

    async def _catch_up(self, record: RevocationRecord, moment: float) -> None:
        """Apply what was recorded while this process was deaf, and announce what the others lack."""
        self._must_read = False
        outage = self._outages
        made = self._validator.revoked.made()
        try:
            read = await record.read()
        except OSError:
            self._must_read = True
            self._distrust_shared()
            with suppress(OSError):
                await self._announce(made)  # the others may hear although the record cannot be read
            return
        made = self._validator.revoked.made()
        for entry in read.entries:
            # An event that is known already would only have identity asked again.
            if made.get(entry.payload, math.inf) > entry.age + SAME_SECONDS:
                self._apply(entry)
        if not read.is_whole and self._is_behind and not self._was_doubted:
            self._doubt()
        is_in_touch = moment > -math.inf and outage == self._outages and not self._is_deaf
        if is_in_touch:
            self._is_behind = False
            self._stop_doubting()
            self._trust(moment)
        self._use_shared(read, is_in_touch=is_in_touch)
        self._read_at = moment
        self._has_read.set()
        recorded = {entry.payload for entry in read.entries}
        if read.is_everything:
            for payload in made.keys() - recorded:
                _remember(self._untold, payload)
                _remember(self._unrecorded, payload)
        if self._answered_outages < outage:
            self._untold.update(self._unrecorded)  # others may have asked for it while this process was deaf
        with suppress(OSError):
            await self._announce(made)
            if self._answered_outages < outage:
                await self._broadcast.publish(MISSED_CHANNEL, b"")
                self._answered_outages = outage
        self._must_read = self._must_read or bool(self._untold or self._unrecorded)

    def _use_shared(self, read: Record, *, is_in_touch: bool) -> None:
        """Let tokens that other replicas validate count, as far as ``read`` says what was revoked."""
        if not read.is_whole:
            self._validator.revoked.doubt()
        elif read.is_everything and len(read.entries) >= MAX_RECORDED:
            # Older revocations may have been dropped.
            self._validator.revoked.doubt(age=max(entry.age for entry in read.entries))
        if self._validator.shared is not None and is_in_touch:
            self._validator.shared.trust(read.life)

    def _distrust_shared(self) -> None:
        if self._validator.shared is not None:
            self._validator.shared.distrust()


def _ignore_loss() -> None:
    """Nothing is missed on a channel of questions."""


def _remember(payloads: dict[bytes, None], payload: bytes) -> None:
    payloads[payload] = None
    if len(payloads) > MAX_RECORDED:
        del payloads[next(iter(payloads))]


def _forget(payloads: dict[bytes, None], entries: Sequence[Recorded]) -> None:
    for entry in entries:
        payloads.pop(entry.payload, None)
