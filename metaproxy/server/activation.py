"""Listeners that systemd has bound for us (socket activation, sd_listen_fds(3)).

Descriptors are passed from number 3 on; ``LISTEN_PID`` says for which process, ``LISTEN_FDS`` how many,
``LISTEN_FDNAMES`` their names: ``admin`` is for the admin listener, every other for the data listener.
"""

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

FIRST_DESCRIPTOR = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Activated:
    """The sockets that were passed; none where the process was started otherwise."""

    data: list[socket.socket] = field(default_factory=list)
    admin: list[socket.socket] = field(default_factory=list)


def activated(environ: MutableMapping[str, str] = os.environ, first: int = FIRST_DESCRIPTOR) -> Activated:
    """Take the sockets that systemd has passed, and forget the variables that told so.

    ``first`` is the number of the first descriptor.
    """
    pid, count, names = (environ.pop(name, "") for name in VARIABLES)
    found = Activated()
    if pid != str(os.getpid()):
        return found
    known = dict(enumerate(names.split(":")))
    for index in range(int(count)):
        listener = socket.socket(fileno=first + index)
        listener.settimeout(0)
        (found.admin if known.get(index) == ADMIN else found.data).append(listener)
    return found
