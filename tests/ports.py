"""Ports of the loopback interface that are bound from the moment they are chosen.

A port that is looked up first and bound later can be taken in between, by any process of a busy machine. So
a socket of ours stays bound to it, without listening. Linux gives the port to no other process, lets a server
that sets SO_REUSEADDR (as servers do) listen on it, and refuses connections until that server listens.
"""

import os
import socket
import weakref

LOOPBACK = "127.0.0.1"
ATTEMPTS = 100


class HeldPorts:
    """``count`` consecutive ports, held until the object is closed or no longer used."""

    def __init__(self, count: int = 1) -> None:
        sockets = _consecutive(count)
        self.numbers: list[int] = [each.getsockname()[1] for each in sockets]
        self._release = weakref.finalize(self, _close, [each.detach() for each in sockets])

    @property
    def first(self) -> int:
        """The lowest port."""
        return self.numbers[0]

    def __enter__(self) -> "HeldPorts":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the ports go."""
        self._release()


def _consecutive(count: int) -> list[socket.socket]:
    for _ in range(ATTEMPTS):
        sockets = [_bound(0)]
        first: int = sockets[0].getsockname()[1]
        try:
            sockets.extend(_bound(port) for port in range(first + 1, first + count))
        except (OSError, OverflowError):
            for each in sockets:
                each.close()
        else:
            return sockets
    raise RuntimeError(f"there are no {count} consecutive free ports")


def _bound(port: int) -> socket.socket:
    """Return a socket on ``port``, which no other had; from now on a server may share it."""
    held = socket.socket()
    try:
        held.bind((LOOPBACK, port))
    except BaseException:
        held.close()
        raise
    # After bind: with the option set before it, two tests could hold the same port.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
