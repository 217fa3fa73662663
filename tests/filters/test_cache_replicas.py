"""The cache stage: what one replica writes, the others forget; what a replica may have missed, it doubts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from metaproxy.cache.purges import Purges
from metaproxy.cache.replicas import Replicas
from metaproxy.filters.cache import MetadataCache
from metaproxy.store.broadcast import LEASE_SECONDS, LocalBroadcast
from metaproxy.store.entries import Found
from tests.filters.caching import ITEM, JSON, Origin, Time, make_cache, request, turn
from tests.filters.replicating import Network, NetworkBroadcast


class Cluster:
    """Two replicas in front of one origin, with a network between them."""

    def __init__(self, here: MetadataCache, there: MetadataCache, network: Network) -> None:
        self.here, self.there = here, there
        self.network = network
        self.broadcast_there = network.broadcasts[1]


@asynccontextmanager
async def cluster(origin: Origin, time: Time) -> AsyncIterator[Cluster]:
    """Start two replicas that hear each other."""
    network = Network()
    broadcasts = [network.broadcast(name, time.monotonic) for name in ("here", "there")]
    caches = [make_cache(origin, time, broadcast=broadcast) for broadcast in broadcasts]
    for cache, broadcast in zip(caches, broadcasts, strict=True):
        await cache.start()
        await broadcast.beat()
    try:
        yield Cluster(caches[0], caches[1], network)
    finally:
        for cache in caches:
            await cache.close()


async def test_a_write_through_one_replica_is_forgotten_by_the_other() -> None:
    async with cluster(Origin(), Time()) as both:
        await request(both.there)

        await request(both.here, method="PUT")

        assert both.there.inventory.statistics().keys == 0


async def test_a_part_is_forgotten_by_the_other_replica_and_not_used_out_of_touch() -> None:
    origin = Origin(JSON, (b"etag", b'"1"'), (b"content-range", b"bytes 0-29/40"), status=206)
    time = Time()
    async with cluster(origin, time) as both:
        for _ in range(2):
            await request(both.there, ITEM, ("range", "bytes=0-29"))
        assert len(origin.requests) == 1
        await request(both.here, method="PUT")
        assert both.there.inventory.statistics().keys == 0
        await request(both.there, ITEM, ("range", "bytes=0-29"))
        time.seconds += LEASE_SECONDS * 2

        before = len(origin.requests)
        await request(both.there, ITEM, ("range", "bytes=0-29"))

    assert len(origin.requests) == before + 1


async def test_the_other_replica_has_forgotten_before_the_write_is_sent() -> None:
    origin = Origin()
    async with cluster(origin, Time()) as both:
        await request(both.there)
        origin.opened.clear()

        write = asyncio.create_task(request(both.here, method="PUT"))
        while len(origin.requests) < 2:
            await turn(1)

        assert both.there.inventory.statistics().keys == 0
        origin.opened.set()
        await write


async def test_while_a_write_is_under_way_the_other_replica_stores_nothing_of_it() -> None:
    origin = Origin()
    async with cluster(origin, Time()) as both:
        origin.opened.clear()
        write = asyncio.create_task(request(both.here, method="PUT"))
        await turn()
        read = asyncio.create_task(request(both.there))
        await turn()
        origin.opened.set()

        await asyncio.gather(write, read)

        assert both.there.inventory.statistics().keys == 0


async def test_after_the_write_the_other_replica_stores_again() -> None:
    async with cluster(Origin(), Time()) as both:
        await request(both.here, method="PUT")
        await request(both.there)

        assert (await request(both.there)).exchange.outcome == "hit"


async def test_a_replica_that_has_not_heard_of_itself_yet_trusts_nothing() -> None:
    time = Time()
    broadcast = Network().broadcast("here")
    broadcast.deaf = True
    cache = make_cache(Origin(), time, broadcast=broadcast)

    await request(cache)

    assert (await request(cache)).exchange.outcome == "forwarded"
    await cache.close()


async def test_a_replica_whose_lease_is_over_asks_the_origin() -> None:
    time = Time()
    async with cluster(Origin(), time) as both:
        await request(both.there)

        time.seconds += LEASE_SECONDS

        assert (await request(both.there)).exchange.outcome == "forwarded"


async def come_back(both: Cluster, time: Time) -> None:
    """Mend the connection, and let one lease pass."""
    both.broadcast_there.mend()
    for _ in range(2):
        await both.broadcast_there.beat()
        await turn()
        time.seconds += LEASE_SECONDS
    time.seconds -= LEASE_SECONDS


async def test_after_a_gap_nothing_is_trusted_for_one_lease() -> None:
    async with cluster(Origin(), Time()) as both:
        both.broadcast_there.cut()
        both.broadcast_there.mend()

        await both.broadcast_there.beat()
        await turn()

        assert not both.there.inventory.statistics().in_touch


async def test_after_a_gap_what_was_stored_before_is_validated() -> None:
    origin, time = Origin(JSON, (b"etag", b'"1"')), Time()
    async with cluster(origin, time) as both:
        await request(both.there)
        both.broadcast_there.cut()
        await come_back(both, time)
        origin.status, origin.chunks = 304, []

        answers = [await request(both.there) for _ in range(2)]

    assert [answer.exchange.outcome for answer in answers] == ["revalidated", "hit"]
    assert origin.asked(b"if-none-match") == b'"1"'


async def test_a_replica_that_is_cut_off_forwards_without_storing() -> None:
    origin = Origin()
    async with cluster(origin, Time()) as both:
        both.broadcast_there.cut()

        answers = [await request(both.there) for _ in range(2)]

        assert [answer.exchange.outcome for answer in answers] == ["forwarded"] * 2
        assert not both.there.inventory.statistics().in_touch


async def test_a_stale_answer_of_unknown_validity_stands_in_for_no_error() -> None:
    origin = Origin()
    async with cluster(origin, Time()) as both:
        await request(both.there)
        both.broadcast_there.cut()
        origin.status = 503

        assert (await request(both.there)).status == 503


async def test_a_purge_by_hand_reaches_every_replica() -> None:
    async with cluster(Origin(), Time()) as both:
        await request(both.there)

        await both.here.inventory.purge_image("i1")

        assert both.there.inventory.statistics().keys == 0


async def test_what_could_not_be_told_is_told_when_the_connection_is_back() -> None:
    time = Time()
    async with cluster(Origin(), time) as both:
        await request(both.there)
        both.network.broadcasts[0].cut()
        time.seconds += LEASE_SECONDS / 2
        await both.broadcast_there.beat()
        await turn()
        time.seconds += LEASE_SECONDS / 2
        await request(both.here, method="PUT")
        assert both.there.inventory.statistics().keys == 1

        both.network.broadcasts[0].mend()
        await both.network.broadcasts[0].beat()
        await turn(50)

        assert both.there.inventory.statistics().keys == 0


async def test_lines_of_one_process_share_writes_without_a_network() -> None:
    broadcast, origin, time = LocalBroadcast(), Origin(), Time()
    draining, current = (make_cache(origin, time, broadcast=broadcast) for _ in range(2))
    await request(current)

    await request(draining, method="PUT")

    assert current.inventory.statistics().keys == 0


class Forgotten(Purges):
    """Notes what it is told to forget."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def tags(self, tags: Sequence[str]) -> int:
        self.told.append(tuple(tags))
        return 0

    def all(self) -> int:
        self.told.append("all")
        return 0

    def doubt(self) -> None:
        self.told.append("doubt")


def replicas(broadcast: NetworkBroadcast, lease_seconds: float) -> Replicas:
    loop = asyncio.get_running_loop()
    return Replicas(broadcast, Forgotten(), monotonic=loop.time, lease_seconds=lease_seconds)


async def test_a_replica_that_does_not_acknowledge_costs_one_lease_and_no_more() -> None:
    network = Network()
    here = replicas(network.broadcast("here"), lease_seconds=0.05)
    network.broadcast("frozen").deaf = True
    loop = asyncio.get_running_loop()

    before = loop.time()
    await asyncio.wait_for(here.purge(("image:1",)), 20)

    assert loop.time() - before >= 0.05


async def test_a_message_that_cannot_be_read_purges_everything() -> None:
    network = Network()
    broadcast = network.broadcast("here")
    forgotten = Forgotten()
    Replicas(broadcast, forgotten, monotonic=asyncio.get_running_loop().time)

    await broadcast.publish("cache", b'{"from": "a later version"}')
    await turn()

    assert forgotten.told == ["all"]


async def test_purging_nothing_tells_nobody() -> None:
    network = Network()
    there = Forgotten()
    Replicas(network.broadcast("there"), there, monotonic=asyncio.get_running_loop().time)
    here = replicas(network.broadcast("here"), lease_seconds=0.05)

    await here.purge(())
    await turn()

    assert there.told == []


class Unforgetting:
    """Shared entries of which none can be forgotten."""

    times = 0

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        return Found(b"stored", (b"generation",))

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None: ...

    async def forget(self, tags: Sequence[str]) -> None:
        raise ConnectionError("refused")


async def test_a_replica_trusts_nothing_once_another_could_not_have_shared_entries_forgotten() -> None:
    origin, time, network = Origin(), Time(), Network()
    broadcasts = [network.broadcast(name, time.monotonic) for name in ("here", "there")]
    here, there = (
        make_cache(origin, time, broadcast=broadcast, entries=Unforgetting()) for broadcast in broadcasts
    )
    for broadcast in broadcasts:
        await broadcast.beat()
        await turn()
    assert there.inventory.statistics().in_touch
    writing = asyncio.create_task(request(here, method="PUT"))
    await turn(50)

    for _ in range(3):
        await broadcasts[1].beat()
        await turn()
        time.seconds += LEASE_SECONDS / 2

    assert not there.inventory.statistics().in_touch
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    for cache in (here, there):
        await cache.close()


class Elsewhere(NetworkBroadcast):
    """A broadcast whose messages go to a server that no replica listens to."""

    async def publish(self, channel: str, payload: bytes) -> int:
        return 0


async def test_a_purge_that_reaches_no_replica_at_all_is_not_told() -> None:
    time = Time()
    broadcast = Elsewhere(Network(), "here", time.monotonic)
    cache = Replicas(broadcast, Forgotten(), monotonic=time.monotonic)
    await broadcast.beat()
    time.seconds += LEASE_SECONDS  # so that no lease is left to wait for

    assert not (await cache.purge(("image:1",))).is_told

    assert not cache.trust.covers(time.monotonic(), time.monotonic())
    await cache.close()
