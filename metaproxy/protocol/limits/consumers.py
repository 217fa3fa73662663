"""The consumer that a request is charged to, as a text for the counters' keys.

A consumer is ``project:<id>``, ``user:<id>``, ``address:<address>`` or ``global:``, several of them
joined by ``+``. IPv6 addresses are counted by network: ``address:2001:db8::/64``. Ids are percent-encoded,
so that no id can be mistaken for another consumer.

A request without the identity that a rule counts by is counted by what stands nearest: no project, then
the user; no user, then the address. Nobody escapes a rule by sending no token.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

from metaproxy.protocol.addresses import IPV6_PREFIX, canonical, counted_as
from metaproxy.protocol.limits.rates import IDENTITIES

MEMO_ENTRIES = 65536

ConsumerOf = Callable[[str, str, str], str]
"""Given project id, user id and address: the consumer."""


@lru_cache(MEMO_ENTRIES)
def consumer(kind: str, identifier: str) -> str:
    """Return the text for one consumer: ``consumer("project", "a1")`` is ``project:a1``."""
    return f"{kind}:{quote(identifier, safe=':/' if kind == 'address' else ':')}"


def by_project(project_id: str, user_id: str, address: str) -> str:
    """Return the project, or what stands nearest."""
    return consumer("project", project_id) if project_id else by_user(project_id, user_id, address)


def by_user(project_id: str, user_id: str, address: str) -> str:
    """Return the user, or what stands nearest."""
    return consumer("user", user_id) if user_id else by_address(project_id, user_id, address)


def by_address(project_id: str, user_id: str, address: str) -> str:
    """Return the client's address."""
    return consumer("address", address)


def by_nobody(project_id: str, user_id: str, address: str) -> str:
    """Return the one consumer that all requests share."""
    return "global:"


BY_KIND: dict[str, ConsumerOf] = {
    "project": by_project,
    "user": by_user,
    "address": by_address,
    "global": by_nobody,
}


def consumer_of(per: Sequence[str], ipv6_prefix: int = 128) -> ConsumerOf:
    """Return the function that names the consumer for a rule's ``per``; captured names are left out.

    All IPv6 addresses that have the first ``ipv6_prefix`` bits in common are one consumer.
    """
    parts = [BY_KIND[kind] for kind in per if kind in IDENTITIES] or [by_nobody]
    if parts == [by_nobody]:
        return by_nobody
    if len(parts) == 1:
        part = parts[0]
        return lambda project_id, user_id, address: part(
            project_id, user_id, counted_as(address, ipv6_prefix)
        )
    return lambda project_id, user_id, address: "+".join(
        dict.fromkeys(part(project_id, user_id, counted_as(address, ipv6_prefix)) for part in parts)
    )


def respelled(named: str, ipv6_prefix: int = IPV6_PREFIX) -> str:
    """Return the consumer that an operator has ``named``, addresses in the spelling that is counted.

    ``address:2001:DB8::5`` is ``address:2001:db8::/64``, where all addresses of that network count as one.
    """
    return "+".join(_respelled(part, ipv6_prefix) for part in named.split("+"))


def _respelled(part: str, ipv6_prefix: int) -> str:
    kind, _, identifier = part.partition(":")
    if kind != "address":
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
