"""Verdicts on tokens, kept for a while: the rules of how long, without any asking.

Facts this file rests on. Verdicts are kept under keyed digests, valid and rejected ones apart, so that
a flood of bad tokens cannot push out the good. A valid verdict is fresh for ``ttl``, shortened by chance
so that tokens of one moment do not all end in another; then it is stale for ``stale_if_unavailable``. It
outlives
the token's own expiry in neither state, and that is held against the wall clock at each use as well,
because the machine may have slept, which a monotonic clock need not notice.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.ending import EndingCache
from metaproxy.exchange import Identity
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.sharing import Sharing, own_size
from metaproxy.identity.validator import Rejected, Verdict
from metaproxy.identity.validity import Validity
from metaproxy.settings.section import Section
from metaproxy.settings.units import Duration, Percent, Size
from metaproxy.settings.values import Entries

NEVER = float("inf")
MAX_RECENT = 4096
RETRY_STALE = 1.0
"""Seconds for which a stale verdict is used before identity, which failed, is asked again."""

ENTRY_BYTES = 448
"""Memory of an entry besides its identity: its key, its instants, its places in the tables (measured)."""

REJECTED_SHARE = 8
"""Rejected verdicts, which name nobody, have the eighth part of the memory of the valid ones."""


@dataclass(slots=True, eq=False)
class Known:
    """A verdict that is kept. Instants are monotonic seconds, ``expires_at`` is by the wall clock.

    A holder of one need not look it up again: once it is evicted, it is not fresh.
    """

    verdict: Verdict
    fresh_until: float
    stale_until: float
    expires_at: float = NEVER
    fingerprint: bytes = b""
    bytes: int = 0
    """Memory that the verdict takes, about, without what it shares with others."""
    used: bool = False
    """True if a holder has used it: it is then recent, whatever its place."""

    def is_fresh(self, monotonic: float, wall: float) -> bool:
        """Say whether the verdict needs no asking at this time on both clocks; use it."""
        self.used = True
        return monotonic < self.fresh_until and wall < self.expires_at

    def end(self) -> None:
        """Be fresh no longer."""
        self.fresh_until = -NEVER


class TokenCacheSettings(Section):
    """How long an answer of the identity service is believed."""

    ttl: Duration = 300.0
    """How long a valid token is known; never past its own expiry."""
    negative_ttl: Duration = 10.0
    """How long an unknown token is known to be unknown."""
    max_entries: Entries = 100_000
    """Tokens kept; the least recently used goes first."""
    max_bytes: Size = 64 * 1024 * 1024
    """Memory for valid tokens per process, about; the least recently used goes first."""
    stale_if_unavailable: Duration = 60.0
    """How long past ttl a validated token is still taken while identity is down; then 503."""
    jitter: Percent = 0.1
    """By how much each ttl is shortened at random, so that tokens do not all expire at once."""


class TokenCache:
    """Holds verdicts under digests.

    Args:
        settings: for how long, and how many. A verdict that is larger than ``max_bytes`` is not kept.
        validity: nothing that is kept needs no asking when it has ended.
        chance: returns numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: TokenCacheSettings,
        *,
        validity: Validity | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._ttl, self._grace, self._jitter = settings.ttl, settings.stale_if_unavailable, settings.jitter
        self._monotonic, self._wall, self._chance = monotonic, wall, chance
        self._validity = validity or Validity(monotonic)
        self._negative_ttl = settings.negative_ttl
        self._max_entries, self._max_bytes = settings.max_entries, settings.max_bytes
        self._sharing = Sharing()
        self._valid = EndingCache[bytes, Known](
            self._max_bytes,
            ttu=_until,
            timer=monotonic,
            getsizeof=_bytes_of,
            was_used=_was_used,
            at_end=self._release,
        )
        # Some of the same entries again; whatever takes one out above takes it out here.
        self._recent: dict[bytes, Known] = {}
        most_rejected = min(self._max_entries, max(1, self._max_bytes // REJECTED_SHARE // ENTRY_BYTES))
        self._rejected = EndingCache[bytes, Known](most_rejected, ttu=_until, timer=monotonic)

    def fresh(self, key: bytes) -> Known | None:
        """Return what is known under ``key`` and needs no asking, or None."""
        known = self._recent.get(key) or self._make_recent(key) or self._rejected.get(key)
        now = self._monotonic()
        if known is not None and now < self._validity.until and known.is_fresh(now, self._wall()):
            return known
        return None

    def holds(self, key: bytes) -> bool:
        """Say whether a valid verdict is kept under ``key``, fresh or stale."""
        return key in self._valid

    def _make_recent(self, key: bytes) -> Known | None:
        """The entry under ``key``, found in a tenth of the time from now on."""
        entry = self._valid.get(key)
        if entry is not None:
            if len(self._recent) >= min(MAX_RECENT, self._max_entries):
                self._recent.clear()
            self._recent[key] = entry
        return entry

    def stale(self, key: bytes) -> Identity | None:
        """Return the identity under ``key`` that may be used while identity fails; fresh for a moment."""
        entry = self._valid.get(key)
        if entry is None or self._wall() >= entry.expires_at or isinstance(entry.verdict, Rejected):
            return None
        entry.fresh_until = min(self._monotonic() + RETRY_STALE, entry.stale_until)
        return entry.verdict

    def ttl(self) -> float:
        """Return the seconds for which the next valid verdict is fresh: the ttl, shortened by chance."""
        return self._ttl * (1 - self._jitter * self._chance())

    def keep(
        self,
        key: bytes,
        identity: Identity,
        fingerprint: bytes,
        *,
        past_expiry: bool = False,
        ttl: float | None = None,
    ) -> Identity:
        """Keep a valid verdict; ``past_expiry`` where the token's own expiry does not count.

        ``ttl`` is the seconds for which it is fresh; None for those of a verdict that is new. Returns the
        identity as it is kept: values that others have, too, are the same objects.
        """
        expires_at = NEVER if past_expiry or not identity.expires_at else identity.expires_at
        now, remaining = self._monotonic(), expires_at - self._wall()
        ttl = min(self.ttl() if ttl is None else ttl, remaining)
        if ttl <= 0:
            return identity
        stale = min(ttl + self._grace, remaining)
        self._drop(key)
        identity = self._sharing.take(identity)
        size = ENTRY_BYTES + own_size(identity)
        known = Known(identity, now + ttl, now + stale, expires_at, fingerprint, size, used=True)
        if known.bytes + self._sharing.bytes_of(identity) > self._max_bytes:
            self._sharing.release(identity)
            return identity
        while len(self._valid) >= self._max_entries:
            self._valid.popitem()
        self._valid[key] = known
        while self._valid.currsize + self._sharing.bytes > self._max_bytes:
            self._valid.popitem()
        return identity

    def reject(self, key: bytes, verdict: Rejected) -> None:
        """Keep a rejection, in place of what was kept before."""
        self._drop(key)
        until = self._monotonic() + self._negative_ttl
        self._rejected[key] = Known(verdict, until, until)

    def forget(self, revocation: Revocation) -> int:
        """Forget every valid verdict that ``revocation`` speaks of; return how many there were."""
        self._recent.clear()
        found = [
            key
            for key, entry in list(self._valid.items())
            if isinstance(entry.verdict, Identity) and revocation.matches(entry.verdict, entry.fingerprint)
        ]
        for key in found:
            self._valid.drop(key)
        return len(found)

    def doubt(self) -> None:
        """Let every valid verdict be stale from now on."""
        self._recent.clear()
        for entry in self._valid.values():
            entry.end()

    def counts(self) -> list[tuple[tuple[str, ...], float]]:
        """Return how many verdicts of each kind are held, as a gauge shows them."""
        return [(("valid",), len(self._valid)), (("rejected",), len(self._rejected))]

    def _release(self, known: Known) -> None:
        if isinstance(known.verdict, Identity):
            self._sharing.release(known.verdict)

    def _drop(self, key: bytes) -> None:
        self._recent.pop(key, None)
        self._valid.drop(key)
        self._rejected.drop(key)


def _bytes_of(known: Known) -> int:
    return known.bytes


def _was_used(known: Known) -> bool:
    was_used, known.used = known.used, False
    return was_used


def _until(key: bytes, known: Known, now: float) -> float:
    return known.stale_until
