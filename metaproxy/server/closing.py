"""Closing listeners without losing a connection that the kernel has taken in.

Facts this file rests on. A client is connected as soon as the kernel has answered its handshake; until the
process accepts it, the connection waits in the listener's queue, often with a request sent on it. Closing
the listener resets all that wait (Linux). So first nobody may come in any more, then the queue is emptied,
and only then the listener is closed. For TCP, a filter on the listener drops every SYN (socket(7),
``SO_ATTACH_FILTER``): the client's kernel sends another a second later, which is refused, or reaches who
listens by then. A unix socket is not found any more when its path is gone.

Listeners that systemd has passed are left as they are: they and their queues outlive the process.
"""

import asyncio
import select
import socket
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from metaproxy.server.listeners import UnixListener

ATTACH_FILTER = 26
"""SO_ATTACH_FILTER, which the socket module does not name."""

DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the octet of the TCP header that has the flags (RFC 9293 §3.1)
        (0x45, 0, 1, 0x02),  # SYN?
        (0x06, 0, 0, 0),  # drop it
        (0x06, 0, 0, 0xFFFFFFFF),  # anything else, such as the end of a handshake under way, passes
    )
)
INSTRUCTION_BYTES = 8

SETTLE_SECONDS = 0.2
"""How long handshakes that had begun may take to end."""
MAX_SECONDS = 2.0
"""When to close at the latest, where connections still come in."""
LOOK_SECONDS = 0.01


def admit_no_more(listeners: Iterable[socket.socket]) -> None:
    """Let nobody come in any more; who is in the queue of a listener stays there.

    For every process that has the listener: none of them can take it back.
    """
    for listener in listeners:
        with suppress(OSError):  # another system, or one that forbids it: the queue is emptied all the same
            if isinstance(listener, UnixListener):
                listener.remove_path()
            else:
                _drop_syn(listener)


async def empty(listeners: Sequence[socket.socket], until: Callable[[], bool] = lambda: False) -> None:
    """Wait until the event loop has accepted every connection that waits in a queue of ``listeners``.

    ``until`` ends the wait. If nobody else can come in, the listeners can be closed in the same turn of
    the loop without loss.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() < begun + SETTLE_SECONDS or _is_waited_at(listeners):
        if until() or loop.time() > begun + MAX_SECONDS:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _drop_syn(listener: socket.socket) -> None:
    program = array("B", DROP_SYN)
    address, octets = program.buffer_info()
    listener.setsockopt(
        socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HP", octets // INSTRUCTION_BYTES, address)
    )


def _is_waited_at(listeners: Sequence[socket.socket]) -> bool:
    poll = select.poll()
    for listener in listeners:
        poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
