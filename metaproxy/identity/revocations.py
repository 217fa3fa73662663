"""Revocations made by an operator, sent to every process that holds verdicts.

A message carries a token's SHA-256, never the token. A process that was away for a while reads what was
recorded meanwhile. If that cannot be known, it doubts: identity is asked about each token once more.

    state      event                          what is done                             next state
    in touch   the broadcast is lost          a lease begins                             deaf
    deaf       nothing came for a lease       doubt                                      deaf
    deaf       the broadcast confirms         read the record                            in touch
    in touch   the record was read, whole     apply it                                   in touch
    in touch   it was read and is not whole   apply it; doubt, if that was not done yet  in touch
    in touch   it could not be read           doubt; read again when next confirmed      in touch

So a revocation reaches every process within two leases and the time that it takes to connect and to read,
or the process trusts no verdict that is older. Without a record (``record`` is None), each loss is doubted
at once.
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress

import structlog

from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation, RevocationError
from metaproxy.store.broadcast import LEASE_SECONDS, Broadcast, Unsubscribe
from metaproxy.store.revocations import MAX_RECORDED, Recorded, RevocationRecord
from metaproxy.tasks import TaskSet

CHANNEL = "revocations"

SAME_SECONDS = 2.0
"""A revocation that is recorded so much later than it was received was made once more."""

logger = structlog.get_logger(__name__)


class Revocations:
    """Revokes tokens here and in every other process.

    Args:
        validator: whose verdicts are forgotten.
        broadcast: reaches the other processes.
        record: where revocations are recorded for processes that are away.
        lease_seconds: how long verdicts are trusted after the broadcast was lost.
    """

    def __init__(
        self,
        validator: CachedValidator,
        broadcast: Broadcast,
        record: RevocationRecord | None = None,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._validator = validator
        self._broadcast = broadcast
        self._record = record
        self._lease_seconds = lease_seconds
        self._unsubscribe: Unsubscribe | None = None
        self._is_deaf = False
        self._outages = 0
        self._settled_outages = 0
        """Up to which outage nothing can be missing any more."""
        self._was_doubted = False
        self._must_read = True
        self._untold: dict[bytes, None] = {}
        self._lease: asyncio.TimerHandle | None = None
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Listen to what other processes revoke."""
        if self._unsubscribe is None:
            self._unsubscribe = self._broadcast.subscribe(
                CHANNEL, self._received, self._lost, self._confirmed
            )

    async def close(self) -> None:
        """Listen no more."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._end_lease()
        await self._tasks.cancel()

    async def revoke(self, revocation: Revocation) -> int:
        """Revoke here, tell the others, and return how many verdicts this process had.

        Raises OSError where the others could not be told; here it is done even then, and they are told as
        soon as they can be reached.
        """
        forgotten = self._validator.revoke(revocation)
        logger.info("tokens revoked", forgotten=forgotten)
        entry = Recorded(revocation.payload(), 0.0)
        await self._announce([entry], record=[entry])
        return forgotten

    async def _announce(self, entries: Sequence[Recorded], *, record: Sequence[Recorded]) -> None:
        """Tell the others of ``entries``, of which ``record`` is to be recorded; raises OSError.

        What fails is done again when the broadcast confirms the next time.
        """
        self._untold.update(dict.fromkeys(entry.payload for entry in entries))
        while len(self._untold) > MAX_RECORDED:
            del self._untold[next(iter(self._untold))]
        is_recorded = await self._is_recorded(record)  # first, so that whoever misses the message finds it
        try:
            for entry in entries:
                await self._broadcast.publish(CHANNEL, entry.payload)
        except OSError:
            self._must_read = True
            raise
        if is_recorded:
            for entry in entries:
                self._untold.pop(entry.payload, None)
        else:
            self._must_read = True

    async def _is_recorded(self, entries: Sequence[Recorded]) -> bool:
        if self._record is None or not entries:
            return True
        try:
            await self._record.add(entries)
        except OSError:
            return False
        return True

    def _received(self, payload: bytes) -> None:
        self._apply(Recorded(payload, 0.0))

    def _apply(self, entry: Recorded) -> None:
        try:
            self._validator.revoke(Revocation.from_payload(entry.payload), age=entry.age)
        except RevocationError:
            # A newer version may name what this one does not know: rather ask once too often.
            logger.warning("a revocation could not be read; every token is asked about anew")
            self._validator.doubt()

    def _lost(self) -> None:
        if self._record is None:
            self._validator.doubt()
        elif not self._is_deaf:
            self._is_deaf = self._must_read = True
            self._was_doubted = False
            self._outages += 1
            loop = asyncio.get_running_loop()
            self._lease = loop.call_later(self._lease_seconds, self._doubt)

    def _confirmed(self, _moment: float) -> None:
        self._is_deaf = False
        self._end_lease()
        if self._must_read and self._record is not None and not len(self._tasks):
            self._tasks.start(self._catch_up(self._record), name="read-revocations")

    def _doubt(self) -> None:
        self._was_doubted = True
        logger.warning("revocations of other replicas may be missing; every token is asked about anew")
        self._validator.doubt()

    def _end_lease(self) -> None:
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None

    async def _catch_up(self, record: RevocationRecord) -> None:
        """Apply what was recorded while this process was deaf, and announce what the others lack."""
        self._must_read = False
        outage = self._outages
        try:
            read = await record.read()
        except OSError:
            self._must_read = True
            if self._settled_outages < outage:
                self._settled_outages = outage
                self._doubt()
            return
        made = self._validator.revoked.made()
        for entry in read.entries:
            # What is known already would only have identity asked again.
            if made.get(entry.payload, math.inf) > entry.age + SAME_SECONDS:
                self._apply(entry)
        if not read.is_whole and self._settled_outages < outage and not self._was_doubted:
            self._doubt()
        self._settled_outages = max(self._settled_outages, outage)
        recorded = {entry.payload for entry in read.entries}
        ours = made if read.is_everything else {}
        lacking = [Recorded(payload, age) for payload, age in ours.items() if payload not in recorded]
        untold = [Recorded(payload, made.get(payload, 0.0)) for payload in self._untold]
        entries = list({entry.payload: entry for entry in (*lacking, *untold)}.values())
        with suppress(OSError):
            await self._announce(
                entries, record=[entry for entry in entries if entry.payload not in recorded]
            )
