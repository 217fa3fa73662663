"""Reading a configuration in the supervisor, while the workers go on asking it.

A large configuration takes a second to read: expressions are compiled, certificates are read. Requests would
wait for the hub meanwhile. So a thread reads. It has ended before the supervisor goes on, because a process
that forks may have no threads.
"""

import socket
from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

from metaproxy.config import Config
from metaproxy.server.source import Readable
from metaproxy.store.hub.hub import Hub

T = TypeVar("T")


class Attended:
    """A source that is read while the hub is served.

    Args:
        source: reads the configuration.
        hub: the state that workers share.
    """

    def __init__(self, source: Readable, hub: Hub) -> None:
        self._source = source
        self._hub = hub

    def read(self) -> tuple[Config, tuple[str, ...]]:
        """Return the configuration, and the keys that only a restart can bring into use."""
        return attend(self._hub, self._source.read)


def attend(hub: Hub, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises; serve ``hub`` until then."""
    ended, end = socket.socketpair()
    with ended, end:
        job = _Job(call, end)
        job.start()
        hub.serve([ended.fileno()], None)
        job.join()
    return job.result()


class _Job(Thread, Generic[T]):
    """A call in a thread, which writes a byte to ``end`` when the call has ended."""

    def __init__(self, call: Callable[[], T], end: socket.socket) -> None:
        super().__init__(name="read-configuration")
        self._call = call
        self._end = end
        self._returned: list[T] = []
        self._raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._raised = error
        finally:
            self._end.send(b"\0")

    def result(self) -> T:
        if self._raised is not None:
            raise self._raised
        return self._returned[0]
