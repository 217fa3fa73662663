"""A replica as far as it uses the store: its counters, its token cache, its cache, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from metaproxy.cache.debts import Debts
from metaproxy.cache.flights import Flights
from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.purges import Purges
from metaproxy.cache.replicas import Replicas
from metaproxy.cache.writes import Writes
from metaproxy.clock import monotonic
from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import Revocations
from metaproxy.identity.validator import Rejected
from metaproxy.store.redis.broadcast import RedisBroadcast
from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.counters import RedisCounters
from metaproxy.store.redis.entries import RedisEntries
from metaproxy.store.redis.revocations import RedisRecord
from metaproxy.store.unavailable import StoreUnavailable
from tests.identities import FakeIdentity
from tests.unit.store.charges import charge
from tests.unit.store.waiting import until

TOKENS = [b"token-%d" % number for number in range(20)]
LEASE_SECONDS = 0.4


class NotedPurges(Purges):
    """Purges of a cache that counts them."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(max_bytes=2**20, max_entry_bytes=2**16), Flights(), Writes(monotonic))
        self.tags_purged: list[str] = []
        self.times_emptied = 0

    def tags(self, tags: "list[str] | tuple[str, ...]") -> int:  # type: ignore[override] # a test's own
        """Note what is purged."""
        self.tags_purged += tags
        return super().tags(tags)

    def all(self) -> int:
        """Note that everything is purged."""
        self.times_emptied += 1
        return super().all()


class Replica:
    """One replica at the Redis of ``url``."""

    def __init__(self, url: str, *, timeout_seconds: float = 0.5) -> None:
        self.store = SharedStore(url, timeout_seconds=timeout_seconds)
        self.broadcast = RedisBroadcast(self.store, lease_seconds=LEASE_SECONDS)
        self.identity = FakeIdentity({token: Identity(user_id=token.decode()) for token in TOKENS})
        self.validator = CachedValidator(self.identity, negative_ttl=3600)
        self.revocations = Revocations(
            self.validator, self.broadcast, RedisRecord(self.store), lease_seconds=LEASE_SECONDS
        )
        self.purges = NotedPurges()
        self.entries = RedisEntries(self.store)
        self.debts = Debts()
        self.cache = self._new_cache()
        self.counters = RedisCounters(self.store, algorithm="gcra")

    async def reload_cache(self) -> None:
        """Put a new cache in the place of the old one, as a reload that changes its options does."""
        former, self.cache = self.cache, self._new_cache()
        await former.close()

    def _new_cache(self) -> Replicas:
        return Replicas(
            self.broadcast,
            self.purges,
            monotonic=monotonic,
            entries=self.entries,
            debts=self.debts,
            lease_seconds=LEASE_SECONDS,
        )

    @property
    def trusts_its_memory(self) -> bool:
        """Whether stored answers are given without asking the origin."""
        return self.cache.trust.covers(monotonic(), monotonic())

    @property
    def asked(self) -> int:
        """How often identity was asked."""
        return sum(self.identity.asked.values())

    async def ask_for_all(self) -> None:
        """Resolve every token, as requests do all the time."""
        for token in TOKENS:
            await self.validator.resolve(token)

    async def knows_revoked(self, token: bytes) -> bool:
        """Whether ``token`` is rejected; all others are used meanwhile."""
        await self.ask_for_all()
        return isinstance(await self.validator.resolve(token), Rejected)

    async def count(self) -> bool:
        """Charge one request; whether the shared counters took it."""
        try:
            await self.counters.take([charge(limit=1000), charge("s", 1000)])
        except StoreUnavailable:
            return False
        return True

    async def revoke(self, token: bytes) -> None:
        """Revoke ``token`` as an operator does, who tries again where it fails."""
        try:
            await self.revocations.revoke(Revocation.of_token(token.decode()))
        except OSError:
            return  # it is told as soon as the store is back

    async def until_trusted(self) -> None:
        """Wait until the replica is in touch with all others."""
        await until(lambda: self.trusts_its_memory, 30)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    """Run ``replicas``; they are in touch and know every token when the block begins."""
    for replica in replicas:
        await replica.store.start()
        await replica.broadcast.start()
        await replica.revocations.start()
    try:
        for replica in replicas:
            await replica.until_trusted()
            await replica.ask_for_all()
        yield
    finally:
        for replica in replicas:
            await replica.cache.close()
            await replica.revocations.close()
            await replica.broadcast.close()
            await replica.store.close()
            await replica.validator.close()
