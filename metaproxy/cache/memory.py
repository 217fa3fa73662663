"""The store in memory: bounded in bytes, least recently used out first, purged by tag in one step.

A key holds the variants that Vary tells apart; they come and go together in the order of use. Nothing
scans for what has expired: an expired answer still serves validation and errors, and goes when its
room is needed.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaproxy.cache.incomplete import Incomplete
from metaproxy.cache.stored import Stored
from metaproxy.protocol.caching.reuse import selects

Key = tuple[Any, ...]
"""Partition, scheme, host, path, query, representation, and what else tells answers apart."""

MAX_VARIANTS = 16
MAX_REPRIEVES = 64
"""So many keys that readers hold on to are passed over to find one that nobody has used: no request waits
for a walk through all of them."""


@dataclass(slots=True, eq=False)
class Slot:
    """The entry of a key. A reader may hold on to it: when it is not ``current``, it is empty."""

    variants: list[Stored]
    parts: tuple[Incomplete, ...] = ()
    """Answers of which only parts are stored."""
    current: bool = True
    used: bool = False
    """True if somebody who holds on to it has used it: it is then recent, whatever its place."""

    def held(self) -> Sequence[Stored]:
        """Return all that is stored: answers, and the heads of parts."""
        return (*self.variants, *[each.head for each in self.parts]) if self.parts else self.variants

    def end(self) -> None:
        """Be current no more, and let go of what was stored."""
        self.current, self.variants, self.parts = False, [], ()


class MemoryStore:
    """Stored answers by key.

    Args:
        max_bytes: the bound on what all entries take together.
        max_entry_bytes: the bound on one entry; larger ones are not stored.
    """

    def __init__(self, *, max_bytes: int, max_entry_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.max_entry_bytes = min(max_entry_bytes, max_bytes)
        self.bytes = 0
        self.evictions = 0
        self._slots: OrderedDict[Key, Slot] = OrderedDict()
        self._sizes: dict[Key, int] = {}
        self._tagged: dict[str, set[Key]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def select(self, key: Key, request: Mapping[bytes, bytes]) -> Stored | None:
        """Return the newest variant under ``key`` that a request with these fields selects, or None.

        Using a key makes it recent.
        """
        slot = self.slot(key)
        if slot is None:
            return None
        self._slots.move_to_end(key)
        for stored in reversed(slot.variants):
            if selects(stored.vary, request):
                return stored
        return None

    def part(self, key: Key, request: Mapping[bytes, bytes]) -> Incomplete | None:
        """Return the newest parts under ``key`` that a request with these fields selects, or None."""
        slot = self.slot(key)
        for parts in reversed(slot.parts) if slot is not None else ():
            if selects(parts.head.vary, request):
                return parts
        return None

    def slot(self, key: Key) -> Slot | None:
        """Return what is stored under ``key``; the order of use stays as it is."""
        return self._slots.get(key)

    def put(self, key: Key, stored: Stored, request: Mapping[bytes, bytes] | None = None) -> bool:
        """Store one answer in place of what it renews; False if it is too large.

        ``request`` has the fields of the request that it answers. Every variant that they select is replaced,
        because the origin would have confirmed one of them if it were still right (RFC 9111 §4.3.3).
        """
        if stored.size > self.max_entry_bytes:
            return False
        slot = self._slots.get(key)
        if slot is None:
            self._set(key, [stored], ())
        else:
            others = [
                variant
                for variant in slot.variants
                if variant.vary != stored.vary and (request is None or not selects(variant.vary, request))
            ]
            self._set(key, [*others[-(MAX_VARIANTS - 1) :], stored], _others(slot.parts, stored, request))
        return True

    def put_part(self, key: Key, parts: Incomplete, request: Mapping[bytes, bytes]) -> bool:
        """Store parts in place of those that ``request`` selects; False if they are too large."""
        if parts.head.size > self.max_entry_bytes:
            return False
        slot = self._slots.get(key)
        others = _others(slot.parts if slot else (), parts.head, request)
        self._set(key, slot.variants if slot else [], (*others[-(MAX_VARIANTS - 1) :], parts))
        return True

    def withdraw(self, key: Key, request: Mapping[bytes, bytes], asked_at: float) -> bool:
        """Remove the variants that ``request`` selects, whoever still reads them; say whether there were any.

        Those that the origin was asked for after ``asked_at`` (monotonic) stay.
        """
        slot = self._slots.get(key)
        variants = slot.variants if slot else []
        kept = []
        for variant in variants:
            if variant.asked_at <= asked_at and selects(variant.vary, request):
                variant.withdrawn = True
            else:
                kept.append(variant)
        parts = slot.parts if slot else ()
        kept_parts = tuple(
            [each for each in parts if each.head.asked_at > asked_at or not selects(each.head.vary, request)]
        )
        if len(kept) == len(variants) and len(kept_parts) == len(parts):
            return False
        if kept or kept_parts:
            self._set(key, kept, kept_parts)
        else:
            self._remove(key)
        return True

    def purge(self, tag: str) -> int:
        """Remove every key that holds an answer with ``tag``; return how many there were."""
        keys = tuple(self._tagged.get(tag, ()))
        for key in keys:
            for variant in self._slots[key].variants:
                variant.withdrawn = True
            self._remove(key)
        return len(keys)

    def purge_all(self) -> int:
        """Remove everything; return how many keys there were."""
        count = len(self._slots)
        for slot in self._slots.values():
            for variant in slot.variants:
                variant.withdrawn = True
            slot.end()
        self._slots.clear()
        self._sizes.clear()
        self._tagged.clear()
        self.bytes = 0
        return count

    def tagged(self, tag: str) -> Iterator[tuple[Key, Stored]]:
        """Yield every stored answer with ``tag``, without making it recent; of parts their head."""
        for key in tuple(self._tagged.get(tag, ())):
            for stored in self._slots[key].held():
                yield key, stored

    def tags(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield every tag that begins with ``prefix``, with the number of keys that have it."""
        for tag, keys in self._tagged.items():
            if tag.startswith(prefix):
                yield tag, len(keys)

    def _evict(self) -> None:
        """Remove the key that was used least recently."""
        key, slot = next(iter(self._slots.items()))
        for _ in range(MAX_REPRIEVES):
            if not slot.used:
                break
            slot.used = False
            self._slots.move_to_end(key)
            key, slot = next(iter(self._slots.items()))
        self._remove(key)
        self.evictions += 1

    def _set(self, key: Key, variants: list[Stored], parts: tuple[Incomplete, ...]) -> None:
        self._remove(key)
        slot = self._slots[key] = Slot(variants, parts)
        size = key_size(key)
        for stored in slot.held():
            size += stored.size
            for tag in stored.tags:
                keys = self._tagged.get(tag)
                if keys is None:
                    keys = self._tagged[tag] = set()
                keys.add(key)
        self._sizes[key] = size
        self.bytes += size
        while self.bytes > self.max_bytes:
            self._evict()

    def _remove(self, key: Key) -> None:
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        held = slot.held()
        slot.end()
        self.bytes -= self._sizes.pop(key)
        for tag in {tag for stored in held for tag in stored.tags}:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]


def _others(
    parts: tuple[Incomplete, ...], newer: Stored, request: Mapping[bytes, bytes] | None
) -> tuple[Incomplete, ...]:
    """The parts that an answer like ``newer``, to ``request``, does not replace."""
    if not parts:
        return parts
    return tuple(
        [
            each
            for each in parts
            if each.head.vary != newer.vary and (request is None or not selects(each.head.vary, request))
        ]
    )


def key_size(key: Key) -> int:
    """Return the bytes that a key takes with the texts it is made of."""
    size = sys.getsizeof(key) + sum(map(sys.getsizeof, key))
    for part in key:
        if isinstance(part, tuple):
            size += sum(map(sys.getsizeof, part))
    return size
