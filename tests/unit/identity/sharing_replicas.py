"""Replicas that share tokens in a store of the test's own, with clocks that stand still."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import RevocationMemory
from metaproxy.identity.sealing import Sealer
from metaproxy.identity.shared_tokens import SharedTokens
from metaproxy.store.values import Reading
from metaproxy.telemetry.metrics import Metrics
from tests.identities import ALICE, NOW, FakeClock, FakeIdentity

KEY, OTHER_KEY = bytes(range(7, 39)), bytes(range(50, 82))
LIFE = b"mark:1 run-1"
TOKEN = b"alice"
KNOWN = replace(ALICE, expires_at=NOW + 3600, audit_ids=("audit-1", "audit-0"))
TTL = 100.0


class Store:
    """Values in memory, behind a clock of their own. ``failing`` lets every call fail."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.seconds: dict[str, float] = {}
        self.clock = FakeClock(NOW)
        self.failing = False
        self.reads = 0

    async def read(self, names: Sequence[str]) -> Reading:
        self._call()
        self.reads += 1
        return Reading([self.values.get(name) for name in names], self.clock())

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        self._call()
        self.values[name], self.seconds[name] = value, seconds

    async def remove(self, names: Sequence[str]) -> None:
        self._call()
        for name in names:
            self.values.pop(name, None)

    def change(self, value: bytes) -> None:
        """Put ``value`` in the place of everything that is stored."""
        self.values = dict.fromkeys(self.values, value)

    @property
    def only(self) -> bytes:
        """The one value that is stored."""
        (value,) = self.values.values()
        return value

    def _call(self) -> None:
        if self.failing:
            raise ConnectionError("the store is away")


class World:
    """One store, one identity service, and one time for all."""

    def __init__(self, **identities: Identity) -> None:
        self.store = Store()
        self.identity = FakeIdentity({name.encode(): said for name, said in identities.items()})
        if not identities:
            self.identity.identities = {TOKEN: KNOWN}
        self.monotonic, self.wall = FakeClock(), FakeClock(NOW)
        self.replicas: list[Replica] = []

    def replica(self, *keys: bytes, **options: Any) -> "Replica":
        """Return a replica that is in touch; it shares under ``keys``."""
        replica = Replica(self, keys or (KEY,), **options)
        self.replicas.append(replica)
        return replica

    def pass_time(self, seconds: float) -> None:
        for clock in {id(clock): clock for clock in self._clocks()}.values():
            clock.now += seconds

    @property
    def asked(self) -> int:
        """How often identity was asked."""
        return sum(self.identity.asked.values())

    def _clocks(self) -> list[FakeClock]:
        return [self.monotonic, self.wall, self.store.clock, *(each.wall for each in self.replicas)]


class Replica:
    """A token cache (ttl 100 s, no grace, no jitter) that shares."""

    def __init__(
        self,
        world: World,
        keys: Sequence[bytes],
        *,
        settings: bytes = b"s" * 32,
        life: bytes = LIFE,
        is_in_touch: bool = True,
        needs_events: bool = False,
        wall: FakeClock | None = None,
        values: Any = None,
        timeout: float = 20.0,
        **options: Any,
    ) -> None:
        self.metrics = Metrics()
        self.wall = wall or world.wall
        revoked = RevocationMemory(monotonic=world.monotonic)
        options = {"ttl": TTL, "negative_ttl": 0.0, "stale_if_unavailable": 0.0, "jitter": 0.0} | options
        self.shared = SharedTokens(
            values or world.store,
            Sealer(keys, settings),
            revoked=revoked,
            ttl=options["ttl"],
            timeout=timeout,
            needs_events=needs_events,
            metrics=self.metrics,
            wall=self.wall,
        )
        self.validator = CachedValidator(
            world.identity,
            metrics=self.metrics,
            monotonic=world.monotonic,
            wall=self.wall,
            revoked=revoked,
            shared=self.shared,
            probe_interval=3600.0,
            **options,
        )
        if is_in_touch:
            self.shared.trust(life)

    async def resolve(self, token: bytes = TOKEN, **arguments: Any) -> Any:
        """Return the verdict, once what it has stored is stored."""
        verdict = await self.validator.resolve(token, **arguments)
        await self.shared.written()
        return verdict

    @property
    def look_ups(self) -> dict[str, float]:
        return self._counted("metaproxy_shared_token_lookups")

    @property
    def writes(self) -> dict[str, float]:
        return self._counted("metaproxy_shared_token_writes")

    def _counted(self, name: str) -> dict[str, float]:
        return {labels[0]: value for labels, value in self.metrics.counter(name, "").values.items() if value}
