"""The token cache in front of a validator: who a token speaks for, known without asking.

Facts this file rests on. However many requests wait for the same token, one validation is under way; it is a
task of its own, which no client's hanging up can end. If identity gives no verdict, an earlier one goes
on for a while; without one the request is refused. While identity fails, it is probed now and then, so that
its return is noticed without any request: by the login until that has succeeded once, later by a validation
of a made-up token.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import structlog

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint, keyed_digest
from metaproxy.identity.guesses import Guesses, Turn
from metaproxy.identity.health import IdentityHealth
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.revocation import Revocation, RevocationMemory
from metaproxy.identity.shared_tokens import NOTHING, SharedTokens
from metaproxy.identity.token_cache import Known, TokenCache, TokenCacheSettings
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Rejected, TokenRejected, TokenValidator, Verdict
from metaproxy.identity.validity import Validity
from metaproxy.settings.section import chosen
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.metrics import Cell, Metrics

START_SECONDS = 5.0
"""The longest time for which ``start`` waits for the login; the login itself goes on."""

MADE_UP = frozenset({"token_unknown", "token_expired"})
"""Reasons why a token is rejected that anybody can have made up. Identity knows the others."""

logger = structlog.get_logger(__name__)

_HIT, _NEGATIVE_HIT, _MISS, _STALE = ("hit",), ("negative_hit",), ("miss",), ("stale",)


class CachedValidator(TokenValidator):
    """Remembers the verdicts of another validator.

    Args:
        settings: for how long verdicts are kept, and how many; or else its options by name: ``ttl``, …
        headers: renders an identity for the upstream, once, when its token is validated.
        max_validations: bound of validations under way; above it is IdentityUnavailable (busy).
        probe_interval: seconds between two probes while identity fails.
        guesses: gives questions about tokens that were never valid here their turns; None asks at once.
        metrics: where lookups and entries are counted.
        monotonic, wall: the clocks; ``wall`` is there for others, too.
        chance: returns numbers from 0 to 1.
        revoked: what was revoked for good; one memory for all validators that follow each other.
        shared: the verdicts of other replicas, which are looked up before identity is asked.
    """

    def __init__(
        self,
        inner: TokenValidator,
        settings: TokenCacheSettings | None = None,
        *,
        headers: IdentityHeaders | None = None,
        max_validations: int = 4096,
        probe_interval: float = 5.0,
        guesses: Guesses | None = None,
        metrics: Metrics | None = None,
        monotonic: Clock = monotonic,
        wall: Clock = wall,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        revoked: RevocationMemory | None = None,
        shared: SharedTokens | None = None,
        **options: object,
    ) -> None:
        metrics = metrics or Metrics()
        self.health = IdentityHealth(monotonic)
        self.wall = wall
        self._inner = inner
        self._headers = headers or IdentityHeaders()
        self._max_validations = max_validations
        self._probe_interval = probe_interval
        self._guesses = guesses
        self._digest = keyed_digest()
        self._digest_for_expired = keyed_digest(b"expired token")
        self.validity = Validity(monotonic)
        """For how long verdicts count: whoever receives revocations renews it."""
        self._cache = TokenCache(
            chosen(TokenCacheSettings, settings, options),
            validity=self.validity,
            monotonic=monotonic,
            wall=wall,
            chance=chance,
        )
        self.revoked = revoked or RevocationMemory(monotonic=monotonic)
        self.shared = shared
        self._revision = 0
        self._validations: dict[bytes, asyncio.Task[Verdict | IdentityUnavailable]] = {}
        self._validation_tasks = TaskSet()
        self._probe_tasks = TaskSet()
        self._login_tasks = TaskSet()
        self._sleep = sleep
        self._lookups = metrics.counter(
            "metaproxy_token_cache_lookups", "Answers of the token cache.", ("result",)
        )
        self._hits, self._negative_hits = self._lookups.cell(_HIT), self._lookups.cell(_NEGATIVE_HIT)
        metrics.gauge("metaproxy_token_cache_entries", "Verdicts held.", ("kind",), self._cache.counts)

    async def start(self) -> None:
        """Start the validator behind, which logs in. A failure is recorded, not raised, and retried.

        Returns after START_SECONDS at the latest: an identity service that does not answer delays no
        listener.
        """
        login = self._login_tasks.start(self._log_in(), name="log in to identity")
        await asyncio.wait((login,), timeout=START_SECONDS)

    async def settled(self) -> None:
        """Wait until the login that ``start`` began has succeeded or failed."""
        await self._login_tasks.join()

    async def close(self) -> None:
        """End what is under way and close the validator behind."""
        await self._login_tasks.cancel()
        await self._probe_tasks.cancel()
        await self._validation_tasks.cancel()
        if self._guesses is not None:
            await self._guesses.close()
        if self.shared is not None:
            await self.shared.close()
        await self._inner.close()

    def known(self, token: bytes, *, allow_expired: bool = False) -> Verdict | None:
        """Return the verdict on ``token`` that is known and fresh, or None. Awaits nothing."""
        known = self._cache.fresh((self._digest_for_expired if allow_expired else self._digest)(token))
        if known is None:
            return None
        self.found(known.verdict).value += 1
        return known.verdict

    def peek(self, token: bytes) -> Known | None:
        """Return what is known of ``token`` and fresh, or None; uncounted."""
        return self._cache.fresh(self._digest(token))

    def found(self, verdict: Verdict) -> Cell:
        """Return the number in which a look-up is counted that found ``verdict``."""
        return self._hits if isinstance(verdict, Identity) else self._negative_hits

    async def resolve(self, token: bytes, *, allow_expired: bool = False, address: str = "") -> Verdict:
        """Return the verdict on ``token``, asking identity where it is not known.

        ``address`` is that of the client: a question about a token that was never valid here is counted
        against it. Raises GuessesExceeded if it has no more of them, IdentityUnavailable where identity gives
        no verdict and no earlier one may be used.
        """
        await self.validity.in_force()
        known = self.known(token, allow_expired=allow_expired)
        if known is not None:
            return known
        self._lookups.add(_MISS)
        key = (self._digest_for_expired if allow_expired else self._digest)(token)
        turn: Turn | None = None
        if self._guesses is not None and self._is_guess(key):
            turn = await self._guesses.turn(address)
            # While this question waited, another may have asked the same.
            known = self.known(token, allow_expired=allow_expired)
            if known is not None or key in self._validations:
                turn.end(rejected=False)
                turn = None
            if known is not None:
                return known
        validation = self._under_way(key, token, turn, allow_expired=allow_expired)
        # If identity is known to fail, no request waits for it; it is asked all the same.
        if (validation is None or not self.health.available) and (earlier := self._earlier(key)):
            return earlier
        if validation is None:
            raise IdentityUnavailable(Trouble.BUSY, retry_after=1)
        verdict = await asyncio.shield(validation)
        if not isinstance(verdict, IdentityUnavailable):
            return verdict
        if earlier := self._earlier(key):
            return earlier
        # A new one for every waiter: an exception raised twice gathers the tracebacks of both.
        raise IdentityUnavailable(verdict.trouble, retry_after=verdict.retry_after) from verdict

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Return the identity of ``token`` (the ``TokenValidator`` interface over ``resolve``)."""
        verdict = await self.resolve(token, allow_expired=allow_expired)
        if isinstance(verdict, Rejected):
            raise TokenRejected(verdict.reason)
        return verdict

    def revoke(self, revocation: Revocation, *, age: float = 0.0) -> int:
        """Forget every verdict on what an operator revoked ``age`` seconds ago; return how many there were.

        Tokens named by themselves stay rejected; those of a user or project are asked about anew.
        """
        self.revoked.add(revocation, age=age)
        return self._forget(revocation)

    def revoked_by_identity(self, revocation: Revocation) -> int:
        """Do the same with what identity says that it revoked."""
        self.revoked.add_of_identity(revocation)
        return self._forget(revocation)

    def _forget(self, revocation: Revocation) -> int:
        self._revision += 1
        return self._cache.forget(revocation)

    def doubt(self) -> None:
        """Ask about every token anew: revocations may have been missed. Grace still holds."""
        self._revision += 1
        self.revoked.doubt()
        self._cache.doubt()

    def entries(self) -> list[tuple[tuple[str, ...], float]]:
        """Return how many verdicts of each kind (``valid``, ``rejected``) are held, as a gauge shows them."""
        return self._cache.counts()

    def _earlier(self, key: bytes) -> Identity | None:
        earlier = self._cache.stale(key)
        if earlier is not None:
            self._lookups.add(_STALE)
        return earlier

    def _is_guess(self, key: bytes) -> bool:
        """Say whether nobody knows yet whether the token is valid, and nobody is asking."""
        if self._guesses is None or self._guesses.is_vouched(key):
            return False
        return key not in self._validations and not self._cache.holds(key)

    def _under_way(
        self, key: bytes, token: bytes, turn: Turn | None, *, allow_expired: bool
    ) -> "asyncio.Task[Verdict | IdentityUnavailable] | None":
        """Return the one validation of a token, begun where there is none; None for one too many.

        ``turn`` is ended by the end of the validation.
        """
        validation = self._validations.get(key)
        if validation is None and len(self._validations) < self._max_validations:
            validation = self._validations[key] = self._validation_tasks.start(
                self._validation(key, token, allow_expired=allow_expired), name="validate a token"
            )
            validation.add_done_callback(partial(self._ended, key, turn))
        elif turn is not None:
            turn.end(rejected=False)
        return validation

    def _ended(
        self, key: bytes, turn: Turn | None, validation: "asyncio.Task[Verdict | IdentityUnavailable]"
    ) -> None:
        self._validations.pop(key, None)
        has_ended = not validation.cancelled() and validation.exception() is None
        verdict = validation.result() if has_ended else None
        if self._guesses is not None and isinstance(verdict, Identity):
            self._guesses.vouch(key)
        elif self._guesses is not None and isinstance(verdict, Rejected):
            self._guesses.disown(key)
        if turn is not None:
            turn.end(rejected=isinstance(verdict, Rejected) and verdict.reason in MADE_UP)

    async def _validation(
        self, key: bytes, token: bytes, *, allow_expired: bool
    ) -> Verdict | IdentityUnavailable:
        name = fingerprint(token)
        look_up = NOTHING
        if self.shared is not None:
            revision, ttl = self._revision, self._cache.ttl()
            look_up = await self.shared.find(token, name, ttl=ttl, past_expiry=allow_expired)
            await self.validity.in_force()
            if look_up.identity is not None and revision == self._revision:
                ttl -= look_up.age
                return self._judged(key, look_up.identity, name, past_expiry=allow_expired, ttl=ttl)
        revision = self._revision
        verdict = await self._ask(token, allow_expired=allow_expired)
        # While this process stood still, an operator may have revoked what identity still knows.
        await self.validity.in_force()
        # It may have been revoked meanwhile: the answer holds for the requests that wait, no longer.
        is_kept = revision == self._revision
        said = verdict
        if isinstance(verdict, Identity):
            verdict = self._judged(key, verdict, name, past_expiry=allow_expired, is_kept=is_kept)
        elif isinstance(verdict, Rejected):
            self._cache.reject(key, verdict)
        if self.shared is not None:
            if isinstance(said, Identity) and isinstance(verdict, Identity) and is_kept:
                self.shared.put(look_up, said)
            elif isinstance(verdict, Rejected):
                self.shared.remove(look_up)
        return verdict

    def _judged(
        self,
        key: bytes,
        identity: Identity,
        name: bytes,
        *,
        past_expiry: bool,
        is_kept: bool = True,
        ttl: float | None = None,
    ) -> Verdict:
        """Return the verdict on a token that identity says to be valid, and keep it."""
        if self.revoked.hold(identity, name):
            rejected = Rejected("token_revoked")
            self._cache.reject(key, rejected)
            return rejected
        identity = replace(self._headers.applied(identity), token_digest=key)
        if is_kept:
            return self._cache.keep(key, identity, name, past_expiry=past_expiry, ttl=ttl)
        return identity

    async def _ask(self, token: bytes, *, allow_expired: bool = False) -> Verdict | IdentityUnavailable:
        try:
            verdict: Verdict = await self._inner.validate(token, allow_expired=allow_expired)
        except TokenRejected as rejection:
            verdict = rejection.verdict
        except IdentityUnavailable as error:
            self._failed(error)
            return error
        self.health.answered()
        return verdict

    def _failed(self, error: IdentityUnavailable) -> None:
        self.health.failed(error)
        if not len(self._probe_tasks):
            self._probe_tasks.start(self._probe_until_available(), name="probe identity")

    async def _log_in(self) -> None:
        try:
            await self._inner.start()
        except IdentityUnavailable as error:
            self._failed(error)
        except Exception as error:
            # A defect of ours must not end the process, nor the retries.
            logger.exception("the login to identity failed unexpectedly")
            self._failed(IdentityUnavailable(Trouble.NONSENSE, type(error).__name__))
        else:
            self.health.accepted()

    async def _probe_until_available(self) -> None:
        while not self.health.available:
            await self._sleep(self._probe_interval)
            if not self.health.is_let_in:
                await self._log_in()
            if self.health.is_let_in:
                await self._ask(secrets.token_hex(16).encode())
