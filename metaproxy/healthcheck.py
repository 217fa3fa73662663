"""The health check of a container: exit 0 if the admin listener answers ``GET /healthz``, else 1.

It runs every few seconds beside the process, so it imports nothing but sockets: ``python -I -S
healthcheck.py``. It asks for liveness, not readiness: a container that waits for identity, or drains, must
not be killed. The question needs no token. ``METAPROXY_ADMIN`` names the listener: ``host:port``,
``http://host:port`` or ``unix:/path``; without it, 127.0.0.1:9774.
"""

import os
import socket
import sys

DEFAULT = "127.0.0.1:9774"
TIMEOUT_SECONDS = 4.0
REQUEST = b"GET /healthz HTTP/1.0\r\n\r\n"


def connect(admin: str) -> socket.socket:
    """Return a connection to the listener ``admin``; raises OSError, or ValueError for another form."""
    path = admin.removeprefix("unix:")
    if path.startswith("/"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(path)
        return connection
    host, colon, port = admin.removeprefix("http://").rstrip("/").rpartition(":")
    if not colon:
        raise ValueError("METAPROXY_ADMIN is host:port or unix:/path")
    return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS)


def problem(admin: str) -> str:
    """Return why the listener ``admin`` is not well; "" if it is."""
    try:
        with connect(admin) as connection:
            connection.sendall(REQUEST)
            line = connection.makefile("rb").readline(200)
    except (OSError, ValueError) as error:
        return f"{admin}: {error}"
    return "" if line.split()[1:2] == [b"200"] else f"{admin}: answered {line!r}"


def main() -> int:
    """Check the listener of the environment, and return the exit code."""
    found = problem(os.environ.get("METAPROXY_ADMIN") or DEFAULT)
    if found:
        sys.stderr.write(found + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
