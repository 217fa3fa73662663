"""Messages between the supervisor and its workers, over one socket pair a worker.

    supervisor -> worker    Prepare      build the application of a configuration and start it
                            Take         give requests to it
                            Show         nothing has changed; show this state
                            Outcome      how a reload ended that this worker has asked for
                            BreakOff     end at once, whatever requests run
    worker -> supervisor    Serving      the listeners are open, in this state
                            Prepared     the application is there, or why it is not
                            Ask          reload

A message is a pickle with its length before it. Both ends are one program of one process tree. The end of the
stream tells a worker that its supervisor is gone, however it ended.
"""

import asyncio
import pickle
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from metaproxy.admin.service import ConfigState
from metaproxy.config import Config

_LENGTH = struct.Struct("!I")
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build the application of ``config`` and start it. ``round`` tells one reload from another."""

    round: int
    config: Config


@dataclass(frozen=True, slots=True)
class Take:
    """Give requests to the application that was prepared last."""

    state: ConfigState


@dataclass(frozen=True, slots=True)
class Show:
    """Nothing has changed, but the state. An application that was prepared is not needed."""

    state: ConfigState


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the reload ended that was asked for by ``Ask(number)``; ``problems`` if it was refused."""

    number: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BreakOff:
    """End at once."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The listeners are open."""

    state: ConfigState


@dataclass(frozen=True, slots=True)
class Prepared:
    """The application is there; ``problems`` if it is not."""

    round: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Reload, because of ``cause``."""

    number: int
    cause: str


ToWorker = Prepare | Take | Show | Outcome | BreakOff
ToSupervisor = Serving | Prepared | Ask


def framed(message: ToWorker | ToSupervisor) -> bytes:
    """Return ``message`` as it goes over the socket."""
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


async def received(reader: asyncio.StreamReader) -> AsyncIterator[ToWorker]:
    """Yield every message of the supervisor until it is gone."""
    try:
        while True:
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            yield pickle.loads(await reader.readexactly(length))  # noqa: S301 - our own parent wrote it
    except (asyncio.IncompleteReadError, ConnectionError):
        return


class Link:
    """The supervisor's end of the connection to one worker. Never blocks: a worker may hang."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # noqa: FBT003 - its only argument
        self._end = end
        self._in = bytearray()
        self._out = bytearray()
        self.is_closed = False
        """True if the worker has closed its end."""

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._end.fileno()

    @property
    def has_output(self) -> bool:
        """True if ``flush`` has something to send."""
        return bool(self._out)

    def send(self, message: ToWorker) -> None:
        """Send ``message``, or as much of it as the socket takes."""
        self._out += framed(message)
        self.flush()

    def flush(self) -> None:
        """Send what could not be sent before."""
        try:
            while self._out:
                del self._out[: self._end.send(self._out)]
        except BlockingIOError:
            return
        except OSError:  # the worker is gone, which its end tells
            self._out.clear()

    def receive(self) -> Iterator[ToSupervisor]:
        """Yield every message that has come."""
        try:
            while octets := self._end.recv(_READ_BYTES):
                self._in += octets
            self.is_closed = True
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True
        while len(self._in) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._in)[0]
            if len(self._in) < end:
                return
            content = bytes(self._in[_LENGTH.size : end])
            del self._in[:end]
            yield pickle.loads(content)  # noqa: S301 - our own child wrote it

    def close(self) -> None:
        """Close this end."""
        self._end.close()
