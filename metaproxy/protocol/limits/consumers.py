"""The consumers that a limit may count by, in one table, and the text of each for the counters' keys.

A consumer is ``project:<id>``, ``user:<id>``, ``address:<address>`` or ``global:``, several of them
joined by ``+``. IPv6 addresses are counted by network: ``address:2001:db8::/64``. Ids are percent-encoded,
so that no id can be mistaken for another consumer.

If a request has no value for a consumer, it is charged to the next one in the table's column ``otherwise``: a
token without a project to its user, a request without a token to its address. So a request without a token is
counted, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol
from urllib.parse import quote, unquote

from metaproxy.protocol.addresses import IPV6_PREFIX, canonical, counted_as

MEMO_ENTRIES = 65536


class Asker(Protocol):
    """A request, as far as a consumer is read from it."""

    @property
    def identity(self) -> Any:
        """The token's identity, which has the attributes that the table names; None without a token."""

    @property
    def client_address(self) -> str:
        """The address of the client."""


ConsumerOf = Callable[[Asker], str]
"""Given a request: its consumer."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer that ``per`` may name.

    Args:
        name: its name in ``per``, and the beginning of its text.
        attribute: the attribute of an identity that has its value; "" if no token is needed.
        otherwise: the consumer that is charged if an identity has no such value.
    """

    name: str
    attribute: str = ""
    otherwise: str = "address"


ADDRESS, GLOBAL = Consumer("address"), Consumer("global")

CONSUMERS = {
    each.name: each
    for each in (
        Consumer("project", "project_id", otherwise="user"),
        Consumer("user", "user_id"),
        ADDRESS,
        GLOBAL,
    )
}
"""Every consumer by its name."""

OF_TOKENS = tuple(each.name for each in CONSUMERS.values() if each.attribute)
"""The names of those that are read from a token."""

TEXT_PATTERN = "^({}|global:)$".format("|".join(f"{name}:.+" for name in CONSUMERS if name != GLOBAL.name))
"""A regular expression for the text of one consumer."""

values_of_identity: Callable[[Any], Any] = attrgetter(*(CONSUMERS[name].attribute for name in OF_TOKENS))
"""Return all that consumers are read from in an identity."""


@lru_cache(MEMO_ENTRIES)
def consumer(kind: str, identifier: str) -> str:
    """Return the text for one consumer: ``consumer("project", "a1")`` is ``project:a1``."""
    return f"{kind}:{quote(identifier, safe=':/' if kind == 'address' else ':')}"


def consumer_of(per: Sequence[str], ipv6_prefix: int = 128) -> ConsumerOf:
    """Return the function that names the consumer for a rule's ``per``; captured names are left out.

    All IPv6 addresses that have the first ``ipv6_prefix`` bits in common are one consumer.
    """
    parts = [_reader(CONSUMERS[name], ipv6_prefix) for name in per if name in CONSUMERS]
    if len(parts) < 2:
        return parts[0] if parts else _reader(GLOBAL, ipv6_prefix)
    return lambda asker: "+".join(dict.fromkeys(part(asker) for part in parts))


def _reader(kind: Consumer, ipv6_prefix: int) -> ConsumerOf:
    if kind is GLOBAL:
        return lambda asker: "global:"
    if kind is ADDRESS:
        return lambda asker: consumer("address", counted_as(asker.client_address, ipv6_prefix))
    name, value_of, otherwise = (
        kind.name,
        attrgetter(kind.attribute),
        _reader(CONSUMERS[kind.otherwise], ipv6_prefix),
    )

    def read(asker: Asker) -> str:
        identity = asker.identity
        value = "" if identity is None else value_of(identity)
        return consumer(name, value) if value else otherwise(asker)

    return read


def respelled(named: str, ipv6_prefix: int = IPV6_PREFIX) -> str:
    """Return the consumer that an operator has ``named``, addresses in the spelling that is counted.

    ``address:2001:DB8::5`` is ``address:2001:db8::/64``, where all addresses of that network count as one.
    """
    return "+".join(_respelled(part, ipv6_prefix) for part in named.split("+"))


def _respelled(part: str, ipv6_prefix: int) -> str:
    kind, _, identifier = part.partition(":")
    if kind != ADDRESS.name:
        return part
    address, _, length = identifier.partition("/")
    if length not in ("", str(ipv6_prefix)):
        return part
    return consumer("address", counted_as(canonical(unquote(address)), ipv6_prefix))


def group_of(names: Iterable[str], positions: Mapping[str, int]) -> str:
    """Return the group of ``names`` whose rules hold: the one that stands first in the file.

    ``positions`` has every group with rules of its own, by its place in the file. Returns "" for a consumer
    who has none of them.
    """
    return min((name for name in names if name in positions), key=positions.__getitem__, default="")
