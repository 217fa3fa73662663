"""Verdicts on tokens, kept for a while: the rules of how long, without any asking.

Facts this file rests on. Verdicts are kept under keyed digests, valid and rejected ones apart, so that
a flood of bad tokens cannot push out the good. A valid verdict is fresh for ``ttl``, shortened by chance
so that tokens of one moment do not all end in another; then it is stale for ``grace``. It outlives
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
from metaproxy.identity.validator import Rejected, Verdict

NEVER = float("inf")
MAX_RECENT = 4096
RETRY_STALE = 1.0
"""Seconds for which a stale verdict is used before identity, which failed, is asked again."""


@dataclass(slots=True, eq=False)
class Known:
    """A verdict that is kept. Instants are monotonic seconds, ``expires_at`` is by the wall clock.

    Who holds on to one need not look it up again: once it is kept no longer, it is not fresh.
    """

    verdict: Verdict
    fresh_until: float
    stale_until: float
    expires_at: float = NEVER
    fingerprint: bytes = b""

    def is_fresh(self, monotonic: float, wall: float) -> bool:
        """Say whether the verdict needs no asking at this time on both clocks."""
        return monotonic < self.fresh_until and wall < self.expires_at

    def end(self) -> None:
        """Be fresh no longer."""
        self.fresh_until = -NEVER


class TokenCache:
    """Holds verdicts under digests.

    Args:
        ttl: seconds for which a valid token is not asked about again.
        negative_ttl: the same for a rejected one.
        grace: seconds after ``ttl`` for which a verdict is stale but kept.
        max_entries: bound of valid verdicts, and of rejected ones.
        jitter: the share of ``ttl`` that chance may take off.
        monotonic, wall: the clocks.
        chance: returns numbers from 0 to 1.
    """

    def __init__(
        self,
        *,
        ttl: float,
        negative_ttl: float,
        grace: float,
        max_entries: int,
        jitter: float,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._ttl, self._grace, self._jitter = ttl, grace, jitter
        self._monotonic, self._wall, self._chance = monotonic, wall, chance
        self._negative_ttl = negative_ttl
        self._valid = EndingCache[bytes, Known](max_entries, ttu=_until, timer=monotonic)
        # Some of the same entries again; whatever takes one out above takes it out here.
        self._recent: dict[bytes, Known] = {}
        self._rejected = EndingCache[bytes, Known](max_entries, ttu=_until, timer=monotonic)

    def fresh(self, key: bytes) -> Known | None:
        """Return what is known under ``key`` and needs no asking, or None."""
        known = self._recent.get(key) or self._make_recent(key) or self._rejected.get(key)
        if known is not None and known.is_fresh(self._monotonic(), self._wall()):
            return known
        return None

    def _make_recent(self, key: bytes) -> Known | None:
        """The entry under ``key``, found in a tenth of the time from now on."""
        entry = self._valid.get(key)
        if entry is not None:
            if len(self._recent) >= min(MAX_RECENT, self._valid.maxsize):
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

    def keep(self, key: bytes, identity: Identity, fingerprint: bytes, *, past_expiry: bool = False) -> None:
        """Keep a valid verdict; ``past_expiry`` where the token's own expiry does not count."""
        expires_at = NEVER if past_expiry or not identity.expires_at else identity.expires_at
        now, remaining = self._monotonic(), expires_at - self._wall()
        ttl = min(self._ttl * (1 - self._jitter * self._chance()), remaining)
        if ttl > 0:
            stale = min(ttl + self._grace, remaining)
            self._drop(key)
            self._valid[key] = Known(identity, now + ttl, now + stale, expires_at, fingerprint)

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
        for entry in list(self._valid.values()):
            entry.end()

    def counts(self) -> list[tuple[tuple[str, ...], float]]:
        """Return how many verdicts of each kind are held, as a gauge shows them."""
        return [(("valid",), len(self._valid)), (("rejected",), len(self._rejected))]

    def _drop(self, key: bytes) -> None:
        self._recent.pop(key, None)
        self._valid.drop(key)
        self._rejected.drop(key)


def _until(key: bytes, known: Known, now: float) -> float:
    return known.stale_until
