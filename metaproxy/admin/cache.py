"""``/cache``: what is stored, of which images; and purging it, in every replica."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from metaproxy.admin.operation import Operation, Refusal
from metaproxy.admin.service import TOLD_LATER, Service
from metaproxy.cache.inventory import Entry, Inventory, NotTold
from metaproxy.protocol.paths import is_path

IMAGES = 20
ANSWERS = 200


class Usage(msgspec.Struct):
    """How full the cache of this process is; the counts are since the start."""

    entries: int
    bytes: int
    max_bytes: int
    evictions: int
    """Entries that had to make room."""
    purged: int
    fetching: int
    """Reads under way to the upstream."""
    in_touch: bool
    """True if writes through other replicas are received; else no stored answer is trusted."""


class Image(msgspec.Struct):
    """The stored answers of one image."""

    image: str
    answers: int
    bytes: int


class Cache(msgspec.Struct):
    """The cache of this process; ``usage`` is null where no route is cached."""

    usage: Usage | None
    images: list[Image]
    """Those with the most stored answers."""


class AskedImages(msgspec.Struct):
    """How many images are told."""

    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] = IMAGES


class AskedAnswers(msgspec.Struct):
    """Whose answers are told."""

    image: Annotated[str, msgspec.Meta(min_length=1)]


class Answer(msgspec.Struct):
    """One stored answer, without its content. ``age`` and ``fresh_for`` are seconds; stale is below 0."""

    host: str
    path: str
    query: str
    media_type: str
    status: int
    age: float
    fresh_for: float
    bytes: int
    vary: dict[str, str]


class Answers(msgspec.Struct):
    """The stored answers of one image in this process, for every project; at most 200 are listed."""

    image: str
    number: int
    answers: list[Answer]


class Purge(msgspec.Struct, forbid_unknown_fields=True):
    """The target of a purge: one of these."""

    image: str = ""
    """An image's id."""
    tenant: str = ""
    """A project's id."""
    path: str = ""
    """A path: its whole image where it names one, else the path with any query."""
    all: bool = False


class Purged(msgspec.Struct, omit_defaults=True):
    """How many entries this process had.

    ``replicas_told``: all replicas have purged. ``workers_told``: all workers of this process have.
    """

    purged: int
    replicas_told: bool = False
    workers_told: bool = False
    """Left out if it is false. Without ``store.url`` the workers of one supervisor alone are told."""


def operations(service: Service) -> list[Operation]:
    """Return the operations on the cache."""

    async def show(asked: AskedImages) -> Cache:
        cache = service.application.cache
        if cache is None:
            return Cache(None, [])
        stored = cache.inventory.images(asked.top)
        return Cache(
            _usage(cache.inventory), [Image(each.image_id, each.keys, each.bytes) for each in stored]
        )

    async def look_up(asked: AskedAnswers) -> Answers:
        entries = inventory(service).entries(asked.image)
        return Answers(asked.image, len(entries), [_answer(entry) for entry in entries[:ANSWERS]])

    async def purge(asked: Purge) -> Purged:
        try:
            keys = await _purge(inventory(service), asked)()
            sharers = service.application.sharers
            return Purged(keys, replicas_told=sharers == "replicas", workers_told=sharers == "workers")
        except NotTold as error:
            raise Refusal(
                503,
                f"purged {error.keys} answers in this process; the others could not be told yet: "
                f"{TOLD_LATER}",
            ) from error

    return [
        Operation("GET", "/cache", "Show how full the cache is, and of what.", Cache, show, AskedImages),
        Operation(
            "GET", "/cache/answers", "Show what is stored of one image.", Answers, look_up, AskedAnswers
        ),
        Operation("POST", "/cache/purge", "Forget stored answers, in every replica.", Purged, purge, Purge),
    ]


def usage(service: Service) -> Usage | None:
    """Return how full the cache is; None where no route is cached."""
    cache = service.application.cache
    return None if cache is None else _usage(cache.inventory)


def inventory(service: Service) -> Inventory:
    """Return the cache as operators see it; raises Refusal where no route is cached."""
    cache = service.application.cache
    if cache is None:
        raise Refusal(409, "there is no cache: cache.routes is empty")
    return cache.inventory


def _usage(told: Inventory) -> Usage:
    now = told.statistics()
    return Usage(now.keys, now.bytes, now.max_bytes, now.evictions, now.purged, now.flights, now.in_touch)


def _purge(stored: Inventory, asked: Purge) -> Callable[[], Awaitable[int]]:
    purges: dict[str, Callable[[], Awaitable[int]]] = {
        "image": lambda: stored.purge_image(asked.image),
        "tenant": lambda: stored.purge_tenant(asked.tenant),
        "path": lambda: stored.purge_path(asked.path),
        "all": stored.purge_all,
    }
    chosen = [name for name in purges if getattr(asked, name)]
    if len(chosen) != 1:
        raise Refusal(400, "one of image, tenant, path and all is needed")
    if asked.path and not is_path(asked.path):
        raise Refusal(400, "a path begins with / and has no query, because every query of it is purged")
    return purges[chosen[0]]


def _answer(entry: Entry) -> Answer:
    return Answer(
        host=entry.host,
        path=entry.path,
        query=entry.query,
        media_type=entry.representation,
        status=entry.status,
        age=round(entry.age, 3),
        fresh_for=round(entry.ttl, 3),
        bytes=entry.bytes,
        vary=entry.vary,
    )
