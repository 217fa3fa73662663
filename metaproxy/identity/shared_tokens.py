"""Tokens that another replica has validated, so that identity is asked once for all replicas.

Facts this file rests on. The store is believed in nothing: it may be gone, slow, old or hostile. A value is
sealed by a replica for one token (``sealing``); a store can withhold it, or hand it out later, and no more.
So each value says when identity was asked, and counts only

- for ``ttl`` from that moment, and not past the token's own expiry;
- if nothing that speaks of it was revoked since then (``voids``), as far as this replica knows;
- while this replica knows what was revoked: it is in touch with the others, has read what they have recorded,
  and has asked identity for its events if it is configured to;
- in the life of the store in which it was written, because a store that was restarted, restored, or replaced
  by a copy may lack what was revoked;
- if the writer's clock agrees with this one. Both compare theirs with the store's clock. A store that lies
  about the time makes a value older or unusable, and never younger.

Anything else is as if there were no value: identity is asked. Only valid tokens are shared.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
import structlog

from metaproxy.clock import Clock, monotonic, wall
from metaproxy.exchange import Identity
from metaproxy.identity import stored_identity
from metaproxy.identity.revocation import RevocationMemory
from metaproxy.store.values import Reading, SharedValues
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from metaproxy.identity.sealing import Seal, Sealer

MAX_BYTES = 64 * 1024
"""The largest sealed value. A token with a larger catalog is not shared."""

MAX_CLOCK_DIFFERENCE = 2.0
"""Seconds by which the clocks of two replicas may differ."""

MAX_WRITES = 1024
"""Values that are on their way to the store at the same time. One more is not stored."""

USE, USE_PAST_EXPIRY = (b"%s %d" % (use, stored_identity.VERSION) for use in (b"token", b"expired token"))
"""The uses of sealed values: tokens by their own expiry, and regardless of it."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookUp:
    """The outcome of one look-up, and what a verdict that is fetched after it needs to be stored."""

    identity: Identity | None = None
    """The identity of the token; None if identity must be asked."""
    age: float = 0.0
    """Seconds since identity was asked about it."""
    seals: "Sequence[Seal]" = ()
    """The seals of the token; none if nothing can be stored."""
    life: bytes = b""
    asked_at: float = 0.0
    """When the store was asked, by the wall clock …"""
    store_time: float = 0.0
    """… and by the store's."""
    is_past_expiry: bool = False
    held: Sequence[str] = ()
    """The names under which the store has values."""


NOTHING = LookUp()
"""The look-up in a store that cannot be asked, or is not trusted."""


class SealingNotInstalled(ValueError):
    """Tokens are to be shared, and what seals them is not installed."""


@dataclass(eq=False)
class SharedTokens:
    """Verdicts on valid tokens in a store that replicas share.

    Args:
        ttl: seconds for which a verdict counts.
        timeout: seconds for which a request waits at most.
        needs_events: True until the events of identity are known, if they must be (``know_events``).
        wall: the clock that validations are dated by.
    """

    values: SharedValues
    sealer: "Sealer"
    revoked: RevocationMemory
    ttl: float
    timeout: float
    needs_events: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    monotonic: Clock = monotonic
    wall: Clock = wall
    _is_in_touch: bool = field(init=False, default=False)
    _life: bytes = field(init=False, default=b"")
    _events: Repeats = field(init=False, default_factory=lambda: Repeats(logger.warning))

    def __post_init__(self) -> None:
        self._reading, self._writing = TaskSet(), TaskSet()
        self._look_ups = self.metrics.counter(
            "metaproxy_shared_token_lookups",
            "Look-ups of tokens that other replicas have validated.",
            ("result",),
        )
        self._writes = self.metrics.counter(
            "metaproxy_shared_token_writes", "Validated tokens that were to be shared.", ("result",)
        )

    def trust(self, life: bytes) -> None:
        """Use the store from now on: what was revoked is known. ``life`` is that of the store's record."""
        self._is_in_touch, self._life = True, life

    def distrust(self) -> None:
        """Use the store no longer: other replicas may revoke what is not known here."""
        self._is_in_touch = False

    def know_events(self) -> None:
        """Note that the events of identity are known."""
        self.needs_events = False

    async def written(self) -> None:
        """Wait until everything that is on its way to the store has arrived or failed."""
        await self._writing.join()

    async def close(self) -> None:
        """Give up what is under way."""
        await self._reading.cancel()
        await self._writing.cancel()

    async def find(
        self, token: bytes, fingerprint: bytes, *, ttl: float, past_expiry: bool = False
    ) -> LookUp:
        """Return what another replica knows of ``token``.

        Args:
            token: the token; ``fingerprint`` is its SHA-256.
            fingerprint: the name of the token in revocations.
            ttl: seconds for which a verdict counts here, this time.
            past_expiry: whether it was validated regardless of its expiry.
        """
        life = self._life
        if not self._may_be_used(life):
            return self._counted("not_in_touch", NOTHING)
        seals = self.sealer.seals(token, USE_PAST_EXPIRY if past_expiry else USE)
        asked_at = self.wall()
        reading = await self._read([seal.name for seal in seals])
        if reading is None:
            return self._counted("unavailable", NOTHING)
        if not self._may_be_used(life):
            return self._counted("not_in_touch", NOTHING)
        held = [seal.name for seal, value in zip(seals, reading.values, strict=True) if value is not None]
        look_up = LookUp(None, 0.0, seals, life, asked_at, reading.time, past_expiry, held)
        result = "absent"
        for seal, value in zip(seals, reading.values, strict=True):
            if value is not None:
                result, found = self._judge(look_up, seal, value, fingerprint, ttl)
                if found.identity is not None:
                    return self._counted(result, found)
        return self._counted(result, look_up)

    def put(self, look_up: LookUp, identity: Identity) -> None:
        """Store the ``identity`` that was fetched after ``look_up``. Nothing waits for it."""
        if not look_up.seals:
            return
        seconds = self._seconds_left(look_up, identity)
        sealed = _sealed(look_up, identity)
        if sealed is None or seconds <= 0 or len(self._writing) >= MAX_WRITES:
            self._writes.add(("not_stored",))
        elif len(sealed) > MAX_BYTES:
            self._writes.add(("too_large",))
        else:
            self._writing.start(self._write(look_up.seals[0].name, sealed, seconds), name="share a token")

    def remove(self, look_up: LookUp) -> None:
        """Remove the values that ``look_up`` has met, because identity rejects the token."""
        if look_up.held:
            self._writing.start(self._remove(look_up.held), name="share a token no longer")

    def _may_be_used(self, life: bytes) -> bool:
        return self._is_in_touch and not self.needs_events and life == self._life

    def _counted(self, result: str, look_up: LookUp) -> LookUp:
        self._look_ups.add((result,))
        return look_up

    async def _read(self, names: Sequence[str]) -> Reading | None:
        """Return the store's values, or None if it does not answer within the time that a request may wait.

        A store that is late is asked to its end, so that it is known to be away.
        """
        reading = self._reading.start(self._attempt(names), name="look a shared token up")
        due = self.monotonic() + self.timeout
        await asyncio.wait((reading,), timeout=self.timeout)
        if not reading.done():
            # This process may be late itself. The answer is then in the socket, and is read next.
            late = self.monotonic() - due
            await asyncio.wait((reading,), timeout=min(max(late, 0.0), self.timeout))
        has_ended = reading.done() and not reading.cancelled() and reading.exception() is None
        return reading.result() if has_ended else None

    async def _attempt(self, names: Sequence[str]) -> Reading | None:
        try:
            return await self.values.read(names)
        except OSError:
            return None

    def _judge(
        self, look_up: LookUp, seal: "Seal", value: bytes, fingerprint: bytes, ttl: float
    ) -> tuple[str, LookUp]:
        """Return the outcome in one word, and ``look_up`` with the identity of ``value`` if that counts."""
        try:
            identity, asked_at, store_time = _opened(seal, value, look_up.life)
        except ValueError:
            self._log("unreadable")
            return "unreadable", look_up
        difference = (look_up.asked_at - look_up.store_time) - (asked_at - store_time)
        if not abs(difference) <= MAX_CLOCK_DIFFERENCE:
            self._log("clocks_differ")
            return "clocks_differ", look_up
        age = max(0.0, look_up.asked_at - asked_at, look_up.store_time - store_time)
        has_expired = 0.0 != identity.expires_at <= look_up.asked_at and not look_up.is_past_expiry
        if age >= min(ttl, self.ttl) or has_expired:
            return "too_old", look_up
        if self.revoked.void(identity, fingerprint, age=age):
            return "revoked", look_up
        return "found", replace(look_up, identity=identity, age=age)

    def _log(self, reason: str) -> None:
        self._events.log("a shared token cannot be used; identity is asked", (reason,), reason=reason)

    def _seconds_left(self, look_up: LookUp, identity: Identity) -> float:
        now = self.wall()
        seconds = self.ttl - (now - look_up.asked_at)
        if identity.expires_at and not look_up.is_past_expiry:
            seconds = min(seconds, identity.expires_at - now)
        return seconds

    async def _write(self, name: str, value: bytes, seconds: float) -> None:
        try:
            await self.values.write(name, value, seconds)
        except OSError:
            self._writes.add(("not_stored",))
        else:
            self._writes.add(("stored",))

    async def _remove(self, names: Sequence[str]) -> None:
        try:
            await self.values.remove(names)
        except OSError:
            logger.debug("a shared token was not removed")


def _sealed(look_up: LookUp, identity: Identity) -> bytes | None:
    """Return ``identity`` as it is stored; None if it has text that cannot be written."""
    try:
        content = stored_identity.encode(identity)
    except ValueError:
        return None
    moment = look_up.asked_at, look_up.store_time
    return look_up.seals[0].seal(msgspec.msgpack.encode((*moment, content)), look_up.life)


def _opened(seal: "Seal", value: bytes, life: bytes) -> tuple[Identity, float, float]:
    """Return the identity that was stored, and the moment in two times; raises ValueError."""
    try:
        asked_at, store_time, content = msgspec.msgpack.decode(
            seal.open(value, life), type=tuple[float, float, bytes]
        )
    except msgspec.DecodeError as error:
        raise ValueError("not a shared token") from error
    identity = stored_identity.decode(content)
    if not all(map(math.isfinite, (asked_at, store_time, identity.expires_at))):
        raise ValueError("not a moment")
    return identity, asked_at, store_time
