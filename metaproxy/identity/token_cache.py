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

from cachetools import TLRUCache

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.validator import Rejected, Verdict

NEVER = float("inf")
MAX_RECENT = 4096
RETRY_STALE = 1.0
"""Seconds for which a stale verdict is used before identity, which failed, is asked again."""


@dataclass(slots=True)
class _Valid:
    """A token found valid. Instants are monotonic seconds, ``expires_at`` is by the wall clock."""

    identity: Identity
    fingerprint: bytes
    fresh_until: float
    stale_until: float
    expires_at: float


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
        self._valid: TLRUCache[bytes, _Valid] = TLRUCache(
            max_entries, ttu=lambda _key, entry, _now: entry.stale_until, timer=monotonic
        )
        # Some of the same entries again; whatever takes one out above takes it out here.
        self._recent: dict[bytes, _Valid] = {}
        self._rejected: TLRUCache[bytes, Rejected] = TLRUCache(
            max_entries, ttu=lambda _key, _verdict, now: now + negative_ttl, timer=monotonic
        )

    def fresh(self, key: bytes) -> Verdict | None:
        """Return the verdict under ``key`` that needs no asking, or None."""
        entry = self._recent.get(key) or self._make_recent(key)
        if entry is None:
            return self._rejected.get(key)
        if self._monotonic() < entry.fresh_until and self._wall() < entry.expires_at:
            return entry.identity
        return None

    def _make_recent(self, key: bytes) -> _Valid | None:
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
        if entry is None or self._wall() >= entry.expires_at:
            return None
        entry.fresh_until = min(self._monotonic() + RETRY_STALE, entry.stale_until)
        return entry.identity

    def keep(self, key: bytes, identity: Identity, fingerprint: bytes, *, past_expiry: bool = False) -> None:
        """Keep a valid verdict; ``past_expiry`` where the token's own expiry does not count."""
        expires_at = NEVER if past_expiry or not identity.expires_at else identity.expires_at
        now, remaining = self._monotonic(), expires_at - self._wall()
        ttl = min(self._ttl * (1 - self._jitter * self._chance()), remaining)
        if ttl > 0:
            stale = min(ttl + self._grace, remaining)
            self._rejected.pop(key, None)
            self._recent.pop(key, None)
            self._valid[key] = _Valid(identity, fingerprint, now + ttl, now + stale, expires_at)

    def reject(self, key: bytes, verdict: Rejected) -> None:
        """Keep a rejection, in place of what was kept before."""
        self._recent.pop(key, None)
        self._valid.pop(key, None)
        self._rejected[key] = verdict

    def forget(self, revocation: Revocation) -> int:
        """Forget every valid verdict that ``revocation`` speaks of; return how many there were."""
        self._recent.clear()
        found = [
            key
            for key, entry in list(self._valid.items())
            if revocation.matches(entry.identity, entry.fingerprint)
        ]
        for key in found:
            self._valid.pop(key, None)
        return len(found)

    def doubt(self) -> None:
        """Let every valid verdict be stale from now on."""
        self._recent.clear()
        for entry in list(self._valid.values()):
            entry.fresh_until = float("-inf")

    def counts(self) -> list[tuple[tuple[str, ...], float]]:
        """Return how many verdicts of each kind are held, as a gauge shows them."""
        return [(("valid",), len(self._valid)), (("rejected",), len(self._rejected))]
