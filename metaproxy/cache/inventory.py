"""The cache as operators see it: what is in it, how full it is, and purging by hand."""

from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from urllib.parse import unquote

from metaproxy.cache.flights import Flights
from metaproxy.cache.memory import Key, MemoryStore
from metaproxy.cache.purges import Purges
from metaproxy.cache.replicas import Purged, Replicas
from metaproxy.cache.routes import LISTS_TAG, CacheRoutes, image_tag, tenant_tag
from metaproxy.cache.stored import Stored
from metaproxy.telemetry.metrics import Metrics, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The state of the cache in numbers."""

    keys: int
    bytes: int
    max_bytes: int
    evictions: int
    purged: int
    flights: int
    in_touch: bool
    """True if this process hears of the writes through the other replicas; else it trusts no entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored answer, without its content. Numbers are seconds and bytes."""

    host: str
    path: str
    query: str
    representation: str
    status: int
    age: float
    ttl: float
    bytes: int
    vary: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """How much is stored of one image."""

    image_id: str
    keys: int
    bytes: int


class NotTold(OSError):
    """A purge was done in this process, and the store or the other replicas could not be told yet.

    Args:
        keys: how many keys this process had.
    """

    def __init__(self, keys: int) -> None:
        super().__init__("the other replicas could not be told")
        self.keys = keys


@dataclass(slots=True, eq=False, kw_only=True)
class Inventory:
    """Looks into the cache, and purges for every replica.

    Each purge raises NotTold if the others could not be told; here it is done even then, and they are told as
    soon as they can be reached.
    """

    store: MemoryStore
    routes: CacheRoutes
    flights: Flights
    purges: Purges
    replicas: Replicas
    metrics: Metrics

    def __post_init__(self) -> None:
        gauge, total = self.metrics.gauge, self.metrics.total
        for show, name, documentation, number in (
            (gauge, "metaproxy_cache_keys", "Keys with stored answers.", "keys"),
            (gauge, "metaproxy_cache_bytes", "Memory that stored answers take.", "bytes"),
            (gauge, "metaproxy_cache_flights", "Reads being fetched.", "flights"),
            (gauge, "metaproxy_cache_in_touch", "1 while writes of other replicas are heard of.", "in_touch"),
            (total, "metaproxy_cache_evicted_keys", "Keys that went to make room.", "evictions"),
            (total, "metaproxy_cache_purged_keys", "Keys purged by writes and operators.", "purged"),
        ):
            show(name, documentation, (), partial(self._samples, number))

    def statistics(self) -> Statistics:
        """Return the state of the cache in numbers."""
        return Statistics(
            keys=len(self.store),
            bytes=self.store.bytes,
            max_bytes=self.store.max_bytes,
            evictions=self.store.evictions,
            purged=self.purges.count,
            flights=len(self.flights),
            in_touch=self.replicas.is_in_touch,
        )

    def images(self, number: int) -> list[StoredImage]:
        """Return the ``number`` images of which most keys are stored in this process, most first."""
        most = nlargest(number, self.store.tags(image_tag("")), key=lambda tag: tag[1])
        return [
            StoredImage(
                tag.removeprefix(image_tag("")),
                keys,
                sum(stored.size for _, stored in self.store.tagged(tag)),
            )
            for tag, keys in most
        ]

    def entries(self, image_id: str) -> list[Entry]:
        """Return what is stored of an image in this process, for every tenant."""
        now = self.replicas.now()
        return [_entry(key, stored, now) for key, stored in self.store.tagged(image_tag(image_id))]

    async def purge_image(self, image_id: str) -> int:
        """Purge what is stored of an image, and lists that tell of it; return how many keys were here."""
        return _told(await self.replicas.purge((image_tag(image_id), LISTS_TAG)))

    async def purge_tenant(self, project_id: str) -> int:
        """Purge what is stored for a tenant; return how many keys this process had."""
        return _told(await self.replicas.purge((tenant_tag(project_id),)))

    async def purge_path(self, path: str) -> int:
        """Purge what a write on ``path`` concerns; return how many keys this process had.

        That is the whole image where the path names one, else the path's resource under all its names, with
        any query.
        """
        return _told(await self.replicas.purge(self.routes.concerned_by(unquote(path))))

    async def purge_all(self) -> int:
        """Purge everything; return how many keys this process had."""
        return _told(await self.replicas.purge_all())

    @property
    def is_cut_off(self) -> bool:
        """True if it is out of touch with the other replicas, and not only because it has just started."""
        return self.replicas.is_cut_off

    def _samples(self, number: str) -> Samples:
        return [((), float(getattr(self.statistics(), number)))]


def _told(purged: Purged) -> int:
    if not purged.is_told:
        raise NotTold(purged.keys)
    return purged.keys


def _entry(key: Key, stored: Stored, now: float) -> Entry:
    _, _, host, raw_path, query, representation, *_ = key
    age = stored.age(now)
    return Entry(
        host=_text(host),
        path=_text(raw_path),
        query=_text(query),
        representation=_text(representation),
        status=stored.status,
        age=age,
        ttl=stored.terms.lifetime - age,
        bytes=stored.size,
        vary={_text(name): _text(value) for name, value in stored.vary},
    )


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else ""
