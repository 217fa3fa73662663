"""The token cache: who a token speaks for, known without asking.

Facts this file rests on. Verdicts are kept under a keyed digest, valid and rejected ones apart, so
that a flood of bad tokens cannot push out the good. A verdict is fresh for ``ttl``, shortened by
chance so that tokens of one moment do not all expire in another, and never past the token's own
expiry. After that identity is asked; where it gives no verdict, a valid one goes on for
``stale_if_unavailable``. However many requests wait for the same token, one validation is under way,
a task of its own, which no client's hanging up can end.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from cachetools import TLRUCache

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint, keyed_digest
from metaproxy.identity.health import IdentityHealth
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.revocation import Revocation, RevokedTokens
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected, TokenValidator
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.metrics import Metrics

NEVER = float("inf")
RETRY_STALE = 1.0
"""Seconds for which a stale verdict is used before identity, which failed, is asked again."""

Verdict = Identity | Rejected


@dataclass(slots=True)
class _Valid:
    """A token found valid. Instants are monotonic seconds, ``expires_at`` is by the wall clock."""

    identity: Identity
    fingerprint: bytes
    fresh_until: float
    stale_until: float
    expires_at: float


class CachedValidator(TokenValidator):
    """Remembers the verdicts of another validator.

    Args:
        inner: who is asked.
        headers: renders an identity for the upstream, once, when its token is validated.
        ttl: seconds for which a valid token is not asked about again.
        negative_ttl: the same for a rejected one.
        max_entries: bound of valid verdicts, and of rejected ones.
        stale_if_unavailable: seconds after ``ttl`` for which a verdict still holds while identity fails.
        jitter: the share of ``ttl`` that chance may take off.
        max_validations: bound of validations under way; above it is IdentityUnavailable (busy).
        metrics: where lookups and entries are counted.
        monotonic, wall: the clocks.
        chance: returns numbers from 0 to 1.
    """

    def __init__(
        self,
        inner: TokenValidator,
        *,
        headers: IdentityHeaders | None = None,
        ttl: float = 300.0,
        negative_ttl: float = 10.0,
        max_entries: int = 100_000,
        stale_if_unavailable: float = 60.0,
        jitter: float = 0.1,
        max_validations: int = 4096,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        chance: Callable[[], float] = random.random,
    ) -> None:
        metrics = metrics or Metrics()
        self.health = IdentityHealth(monotonic)
        self.revoked = RevokedTokens(monotonic=monotonic)
        self._inner = inner
        self._headers = headers or IdentityHeaders()
        self._ttl, self._negative_ttl, self._grace, self._jitter = (
            ttl,
            negative_ttl,
            stale_if_unavailable,
            jitter,
        )
        self._max_validations = max_validations
        self._monotonic, self._wall, self._chance = monotonic, wall, chance
        self._digest = keyed_digest()
        self._digest_for_expired = keyed_digest(b"expired token")
        self._valid: TLRUCache[bytes, _Valid] = TLRUCache(
            max_entries, ttu=lambda _key, entry, _now: entry.stale_until, timer=monotonic
        )
        self._rejected: TLRUCache[bytes, Rejected] = TLRUCache(
            max_entries, ttu=lambda _key, _entry, now: now + negative_ttl, timer=monotonic
        )
        self._validations: dict[bytes, asyncio.Task[Verdict | IdentityUnavailable]] = {}
        self._tasks = TaskSet()
        self._revision = 0
        self._lookups = metrics.counter(
            "metaproxy_token_cache_lookups", "Answers of the token cache.", ("result",)
        )
        metrics.gauge("metaproxy_token_cache_entries", "Verdicts held.", ("kind",), self._entries)

    async def start(self) -> None:
        """Start the validator behind; identity's failing is noted, not raised: it may come back."""
        try:
            await self._inner.start()
        except IdentityUnavailable as error:
            self.health.failed(error)

    async def close(self) -> None:
        """End what is under way and close the validator behind."""
        await self._tasks.cancel()
        await self._inner.close()

    def known(self, token: bytes, *, allow_expired: bool = False) -> Verdict | None:
        """Return the verdict on ``token`` that is known and fresh, or None. Awaits nothing."""
        key = (self._digest_for_expired if allow_expired else self._digest)(token)
        entry = self._valid.get(key)
        if entry is not None:
            if self._monotonic() < entry.fresh_until and self._wall() < entry.expires_at:
                self._lookups.add(_HIT)
                return entry.identity
        elif (rejected := self._rejected.get(key)) is not None:
            self._lookups.add(_NEGATIVE_HIT)
            return rejected
        return None

    async def resolve(self, token: bytes, *, allow_expired: bool = False) -> Verdict:
        """Return the verdict on ``token``, asking identity where it is not known.

        Raises IdentityUnavailable where identity gives none and no earlier one may be used.
        """
        known = self.known(token, allow_expired=allow_expired)
        if known is not None:
            return known
        self._lookups.add(_MISS)
        key = (self._digest_for_expired if allow_expired else self._digest)(token)
        task = self._validations.get(key)
        if task is None:
            task = self._begin(key, token, allow_expired=allow_expired)
        verdict = await asyncio.shield(task)
        if isinstance(verdict, IdentityUnavailable):
            return self._stale(key, verdict)
        return verdict

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Return the identity of ``token`` (the ``TokenValidator`` interface over ``resolve``)."""
        verdict = await self.resolve(token, allow_expired=allow_expired)
        if isinstance(verdict, Rejected):
            raise TokenRejected(verdict.reason)
        return verdict

    def revoke(self, revocation: Revocation) -> int:
        """Forget every verdict that ``revocation`` speaks of, and return how many there were.

        Tokens named by themselves stay rejected; those of a user or project are asked about anew.
        """
        self._revision += 1
        self.revoked.add(revocation)
        found = [
            (key, entry)
            for key, entry in list(self._valid.items())
            if revocation.matches(entry.identity, entry.fingerprint)
        ]
        for key, _ in found:
            self._valid.pop(key, None)
        return len(found)

    def doubt(self) -> None:
        """Ask about every token anew: revocations may have been missed. Grace still holds."""
        self._revision += 1
        for entry in list(self._valid.values()):
            entry.fresh_until = float("-inf")

    def _begin(
        self, key: bytes, token: bytes, *, allow_expired: bool
    ) -> "asyncio.Task[Verdict | IdentityUnavailable]":
        if len(self._validations) >= self._max_validations:
            raise IdentityUnavailable(Trouble.BUSY, retry_after=1)
        task = self._tasks.start(
            self._validate(key, token, allow_expired=allow_expired), name="validate a token"
        )
        self._validations[key] = task
        task.add_done_callback(lambda _task: self._validations.pop(key, None))
        return task

    async def _validate(
        self, key: bytes, token: bytes, *, allow_expired: bool
    ) -> Verdict | IdentityUnavailable:
        revision = self._revision
        try:
            identity = await self._inner.validate(token, allow_expired=allow_expired)
        except TokenRejected as rejection:
            self.health.answered()
            return self._reject(key, rejection.verdict)
        except IdentityUnavailable as error:
            self.health.failed(error)
            return error
        self.health.answered()
        name = fingerprint(token)
        if self.revoked.hold(identity, name):
            return self._reject(key, Rejected("token_revoked"))
        identity = replace(self._headers.applied(identity), token_digest=key)
        if revision == self._revision:
            self._keep(key, identity, name, allow_expired=allow_expired)
        return identity

    def _keep(self, key: bytes, identity: Identity, name: bytes, *, allow_expired: bool) -> None:
        expires_at = NEVER if allow_expired or not identity.expires_at else identity.expires_at
        now, remaining = self._monotonic(), expires_at - self._wall()
        ttl = min(self._ttl * (1 - self._jitter * self._chance()), remaining)
        if ttl > 0:
            stale = min(ttl + self._grace, remaining)
            self._valid[key] = _Valid(identity, name, now + ttl, now + stale, expires_at)

    def _reject(self, key: bytes, verdict: Rejected) -> Rejected:
        self._valid.pop(key, None)
        if self._negative_ttl > 0:
            self._rejected[key] = verdict
        return verdict

    def _stale(self, key: bytes, error: IdentityUnavailable) -> Identity:
        entry = self._valid.get(key)
        if entry is None or self._wall() >= entry.expires_at:
            # A new one for every waiter: an exception raised twice gathers the tracebacks of both.
            raise IdentityUnavailable(error.trouble, retry_after=error.retry_after) from error
        self._lookups.add(_STALE)
        entry.fresh_until = min(self._monotonic() + RETRY_STALE, entry.stale_until)
        return entry.identity

    def _entries(self) -> list[tuple[tuple[str, ...], float]]:
        return [(("valid",), len(self._valid)), (("rejected",), len(self._rejected))]


_HIT, _NEGATIVE_HIT, _MISS, _STALE = ("hit",), ("negative_hit",), ("miss",), ("stale",)
