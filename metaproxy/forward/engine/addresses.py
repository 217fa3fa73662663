"""All addresses of an upstream's name: looked up for each connection, used in turn, tried until one answers.

A name may have addresses of servers that are gone. Each further one is tried a moment after the last, while
those before it are still awaited (RFC 8305), so that none of them uses up the time for connecting.
"""

import random
import socket
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType, start_connection

ATTEMPT_DELAY_SECONDS = 0.25
"""RFC 8305 §5."""

Resolve = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]
"""Returns the addresses of a host with a port; raises socket.gaierror."""


def is_address(host: str) -> bool:
    """Say whether ``host`` is no name but an address."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def system_resolver(loop: AbstractEventLoop) -> Resolve:
    """Return a resolver that asks the system."""

    async def resolve(host: str, port: int) -> Sequence[AddrInfoType]:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    return resolve


async def connected_socket(
    loop: AbstractEventLoop, host: str, port: int, resolve: Resolve | None = None
) -> socket.socket:
    """Return a socket that is connected to one of the addresses of ``host``; raises OSError."""
    found = list(await (resolve or system_resolver(loop))(host, port))
    if not found:
        raise socket.gaierror(f"{host} has no address")
    first = random.randrange(len(found))  # noqa: S311 - a choice that nobody gains by guessing
    return await start_connection(
        [*found[first:], *found[:first]],
        happy_eyeballs_delay=ATTEMPT_DELAY_SECONDS,
        interleave=1,
        loop=loop,
    )
