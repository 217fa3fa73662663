"""Items and their collection: a stored collection answers for its items.

Facts this file rests on. ``GET …/metadata`` answers every item of an image, ``{"metadata": {…}}``, and
``GET …/metadata/{key}`` one, ``{"meta": {key: value}}``. So an item's answer can be made from a fresh
collection of the same partition, representation and Vary; what is not in it is left to the origin, whose
404 says more. An item made so has the collection's age and terms, and none of its validators.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

import msgspec
from cachetools import TTLCache
from starlette.types import Scope

from metaproxy.cache.memory import Key, MemoryStore
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.stored import Stored
from metaproxy.clock import Clock
from metaproxy.protocol import faults, headers
from metaproxy.protocol.compute_api import ENDINGS
from metaproxy.protocol.routes import Match

OF_THE_COLLECTION = frozenset(
    {
        b"etag",
        b"last-modified",
        b"content-location",
        b"content-md5",
        b"digest",
        b"content-digest",
        b"repr-digest",
    }
)
"""Fields that say something of the collection's own content."""

ENDINGS_OF_PATHS = tuple(ending.encode() for ending in ENDINGS)
"""Behind one of these it is not clear what the item is called."""

PATH, QUERY, REPRESENTATION = 3, 4, 5
"""Places in a key."""

REMEMBERED_SECONDS = 60.0
REMEMBERED_COLLECTIONS = 16384


class _Metadata(msgspec.Struct):
    metadata: dict[str, str]


class Collections:
    """Makes items of stored collections, and says when a collection is worth fetching."""

    def __init__(self, store: MemoryStore, monotonic: Clock) -> None:
        self._store = store
        self._monotonic = monotonic
        # Hashes, because keys have no bound in bytes. A collision fetches a collection early, or late.
        self._missed: TTLCache[int, int] = TTLCache(
            REMEMBERED_COLLECTIONS, REMEMBERED_SECONDS, timer=monotonic
        )

    def item(self, request: CacheRequest, match: Match[CacheRoute] | None) -> Stored | None:
        """Return the item that ``request`` asks for, made of a fresh collection; None where there is none."""
        name = _item_name(request, match)
        if name is None:
            return None
        collection = self._store.select(collection_key(request.key), request.fields)
        if collection is None or self._monotonic() >= collection.fresh_until:
            return None
        value = _items(collection).get(name)
        if value is None:
            return None
        item = _made_of(collection, {"meta": {name: value}})
        self._store.put(request.key, item)
        return item

    def of_item(self, key: Key) -> Key | None:
        """Return the key of a stored collection that would answer for the item ``key``; None for none."""
        found = collection_key(key)
        slot = self._store.slot(found)
        name = unquote(key[PATH].rpartition(b"/")[2].decode("latin-1"))
        holds = slot is not None and any(name in _items(variant) for variant in slot.variants)
        return found if holds else None

    def to_fetch(self, request: CacheRequest, match: Match[CacheRoute] | None, scope: Scope) -> Scope | None:
        """Return the request for the collection, where a second item of it has been missed lately."""
        if _item_name(request, match) is None:
            return None
        key, item = collection_key(request.key), hash(request.key)
        first = self._missed.setdefault(hash(key), item)
        if first == item or key in self._store:
            return None
        del self._missed[hash(key)]
        path, raw_path = scope["path"].rpartition("/")[0], scope["raw_path"].rpartition(b"/")[0]
        return {**scope, "path": path, "raw_path": raw_path}


def _item_name(request: CacheRequest, match: Match[CacheRoute] | None) -> str | None:
    """The item's key, where ``request`` asks for nothing but an item in JSON that a collection may hold."""
    if match is None or not match.value.from_collection:
        return None
    if request.key[QUERY] or request.key[REPRESENTATION] != faults.JSON:
        return None
    if request.key[PATH].endswith(ENDINGS_OF_PATHS):
        return None
    *_, name = ("", *match.captures.values())
    return name or None


def collection_key(key: Key) -> Key:
    """Return the key of the collection of which ``key`` is an item's."""
    return (*key[:PATH], key[PATH].rpartition(b"/")[0], *key[QUERY:])


def _items(collection: Stored) -> Mapping[str, str]:
    """The items of a collection, read once."""
    if collection.items is None:
        collection.items = _read_items(collection)
    return collection.items


def _read_items(collection: Stored) -> Mapping[str, str]:
    content_type = headers.get(collection.fields, b"content-type") or b""
    if collection.status != 200 or not content_type.startswith(faults.JSON):
        return {}
    if headers.get(collection.fields, b"content-encoding") is not None:
        return {}
    try:
        return msgspec.json.decode(collection.body, type=_Metadata).metadata
    except msgspec.DecodeError:
        return {}


def _made_of(collection: Stored, content: object) -> Stored:
    return replace(
        collection,
        fields=tuple(field for field in collection.fields if field[0] not in OF_THE_COLLECTION),
        body=json.dumps(content).encode(),
        detail="collection",
        items=None,
    )
