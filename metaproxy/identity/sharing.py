"""One object for what many identities have in common, and the memory that it takes.

Facts this file rests on. Tokens are many, and what they say is mostly the same: the roles, the domains, the
catalog; for the tokens of one user all but the expiry. Texts are looked up in a bounded memo, so that equal
ones are mostly one object. Larger values (roles, rules, catalogs) are counted: such a value is there once
while any identity that is kept has it, and its memory counts once. Roles that were given for one tenant have
the same names in many tenants, so their names are shared without the tenant.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Any, overload

from metaproxy.exchange import Assignment, Identity
from metaproxy.memo import Memo

MAX_TEXTS = 16_384
MAX_TEXT_LENGTH = 128
MAX_LONG_TEXTS = 256
MAX_LONG_TEXT_LENGTH = 8192

COUNTED_BYTES = 240
"""Memory of a shared value besides itself: its place in the table (measured)."""

NOTHING: Mapping[str, str] = MappingProxyType({})
"""The attributes of an identity that has none."""

IDENTITY_BYTES = 248
"""Memory of an identity without what it says (measured)."""

_SETS = (
    "roles",
    "groups",
    "tenant_ids",
    "access_rules",
    "catalog",
)
_ASSIGNED = ("assignments", "impersonator_assignments")
_NAMES = "names of roles"

_NOT_OWN = frozenset({"renderer", "token_digest", *_SETS, *_ASSIGNED})
_OWN = tuple(field.name for field in fields(Identity) if field.name not in _NOT_OWN)


class Attributes(Mapping[str, str]):
    """A mapping in the memory of two tuples, of which the names are shared."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: tuple[str, ...]) -> None:
        self._names = names
        self._values = values

    def __getitem__(self, name: str) -> str:
        if name in self._names:
            return self._values[self._names.index(name)]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __sizeof__(self) -> int:
        return 48 + sys.getsizeof(self._values) + sum(map(sys.getsizeof, self._values))


class Assignments(Sequence[Assignment]):
    """Assignments in the memory of a tenant and shared names, for each run of assignments of one tenant.

    Args:
        runs: a tenant and its names, then the next tenant and its names, and so on.
    """

    __slots__ = ("_runs",)

    def __init__(self, runs: tuple[str | tuple[str, ...], ...]) -> None:
        self._runs = runs

    @property
    def names(self) -> Iterator[tuple[str, ...]]:
        """The names of each run."""
        return iter(self._runs[1::2])  # type: ignore[arg-type] # every second one is a tuple of names

    def __iter__(self) -> Iterator[Assignment]:
        for tenant, names in zip(self._runs[::2], self.names, strict=True):
            for name in names:
                yield Assignment(name, str(tenant))

    def __len__(self) -> int:
        return sum(map(len, self.names))

    @overload
    def __getitem__(self, index: int) -> Assignment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Assignment, ...]: ...
    def __getitem__(self, index: int | slice) -> Assignment | tuple[Assignment, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | Assignments) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __sizeof__(self) -> int:
        return 56 + sys.getsizeof(self._runs) + sum(map(sys.getsizeof, self._runs[::2]))


class _Counted:
    """A shared value, and the number of identities that have it."""

    __slots__ = ("bytes", "holders", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.holders = 0
        self.bytes = COUNTED_BYTES + deep_size(value)


class Sharing:
    """Values that identities share. ``bytes`` is the memory of those that are counted."""

    def __init__(self) -> None:
        self.bytes = 0
        self._texts: Memo[str, str] = Memo(MAX_TEXTS, MAX_TEXT_LENGTH)
        self._long_texts: Memo[str, str] = Memo(MAX_LONG_TEXTS, MAX_LONG_TEXT_LENGTH)
        self._names: Memo[tuple[str, ...], tuple[str, ...]] = Memo()
        # By the name of the attribute, too: values of two types may be equal.
        self._counted: dict[tuple[str, object], _Counted] = {}

    def __len__(self) -> int:
        return len(self._counted)

    def take(self, identity: Identity) -> Identity:
        """Return ``identity`` made of shared values. Release it when it is kept no longer."""
        said: dict[str, Any] = {name: self._shared(getattr(identity, name)) for name in _OWN}
        said |= {name: self._taken(name, getattr(identity, name)) for name in _SETS}
        said |= {name: self._assigned(getattr(identity, name)) for name in _ASSIGNED}
        said["extra"] = self._attributes(identity.extra)
        return replace(identity, **said)

    def release(self, identity: Identity) -> None:
        """Let go of the values that ``identity``, which was taken, shares with others."""
        for key in _keys(identity):
            counted = self._counted.get(key)
            if counted is not None:
                counted.holders -= 1
                if not counted.holders:
                    del self._counted[key]
                    self.bytes -= counted.bytes

    def bytes_of(self, identity: Identity) -> int:
        """Return the memory of the counted values of ``identity``, which was taken."""
        found = [self._counted.get(key) for key in dict.fromkeys(_keys(identity))]
        return sum([counted.bytes for counted in found if counted is not None])

    def _taken(self, name: str, value: object) -> object:
        if not value:
            return value
        counted = self._counted.get((name, value))
        if counted is None:
            value = self._shared(value)
            counted = self._counted[name, value] = _Counted(value)
            self.bytes += counted.bytes
        counted.holders += 1
        return counted.value

    def _assigned(self, value: Sequence[Assignment] | None) -> Sequence[Assignment] | None:
        if not value:
            return value
        runs: list[Any] = []
        for tenant, members in groupby(value, key=attrgetter("tenant_id")):
            runs += self._shared(tenant), self._taken(_NAMES, tuple([member.role for member in members]))
        return Assignments(tuple(runs))

    def _shared(self, value: object) -> object:
        """``value``, of the texts that others have, too."""
        if isinstance(value, str):
            memo = self._texts if len(value) <= MAX_TEXT_LENGTH else self._long_texts
            return memo.get(value) or memo.keep(value, value, len(value))
        if type(value) is tuple:
            return tuple([self._shared(member) for member in value])
        return value

    def _attributes(self, extra: Mapping[str, str]) -> Mapping[str, str]:
        if not extra:
            return NOTHING
        names = tuple(extra)
        names = self._names.get(names) or self._names.keep(names, names, len(names))
        return Attributes(names, tuple([str(self._shared(value)) for value in extra.values()]))


def _keys(identity: Identity) -> Iterator[tuple[str, object]]:
    """Yield the key of each value that ``identity``, which was taken, shares with others."""
    for name in _SETS:
        yield name, getattr(identity, name)
    for name in _ASSIGNED:
        assigned = getattr(identity, name)
        if isinstance(assigned, Assignments):
            for names in assigned.names:
                yield _NAMES, names


def own_size(identity: Identity) -> int:
    """Return the bytes that ``identity`` takes without the values that are counted apart."""
    return IDENTITY_BYTES + sum([deep_size(getattr(identity, name)) for name in (*_OWN, *_ASSIGNED)])


def deep_size(value: object) -> int:
    """Return the bytes that ``value`` takes with all that it holds."""
    if not value or isinstance(value, bool):
        return 0  # there is one such object for all
    size = sys.getsizeof(value)
    if isinstance(value, tuple):
        return size + sum(map(deep_size, value))
    return size
