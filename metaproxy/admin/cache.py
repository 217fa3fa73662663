"""``/cache``: what is stored, of which images; and purging it, in every replica."""

import msgspec

from metaproxy.admin.operation import Operation
from metaproxy.admin.service import Service


class Usage(msgspec.Struct):
    """How full the cache is. ``entries`` counts stored answers, ``evictions`` those that had to make room."""

    entries: int
    bytes: int
    max_bytes: int
    evictions: int


def usage(service: Service) -> Usage | None:
    """Return how full the cache is; None where no route is cached."""
    return None


def operations(service: Service) -> list[Operation]:
    """Return the operations on the cache."""
    return []
