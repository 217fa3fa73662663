"""The hub: state that the workers of one supervisor share, with the supervisor's ends of their connections.

The supervisor forks, so it has no event loop: it calls ``Hub.serve`` in place of waiting. A connection is a
socket pair that a worker inherits. So there is no path, and no other process can connect. No worker can stop
the supervisor or take its memory:

    fault of a worker          consequence
    it does not read           its requests wait, so that no answers pile up. Payloads for it are kept up to
                               MAX_UNREAD_BYTES, and dropped from then on: when it reads again, ``Missed``
                               comes before the next answer
    it sends something else    its connection is closed; the worker ends, and the supervisor starts another
    it dies                    its connection is closed
"""

import selectors
import socket
import time
from collections.abc import Collection
from selectors import EVENT_READ, EVENT_WRITE

import structlog

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.hub.frames import Frames, MessageError
from metaproxy.store.hub.messages import (
    Answer,
    Beat,
    Delivery,
    Missed,
    Number,
    Publish,
    Request,
    Subscribe,
    Unsubscribe,
    framed,
    read_request,
)
from metaproxy.store.hub.state import HeldState

READ_BYTES = 65536
ENOUGH_UNREAD_BYTES = 2**18
"""No request of a worker is served while it has so much to read."""
MAX_UNREAD_BYTES = 2**20
"""No payload is kept for a worker that has so much to read."""
MAX_CHANNELS = 64

logger = structlog.get_logger("metaproxy")


class _Connection:
    """The connection to one worker."""

    __slots__ = ("channels", "end", "events", "frames", "has_missed", "is_open", "unread")

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.frames = Frames()
        self.unread = bytearray()
        self.channels: set[str] = set()
        self.has_missed = False
        self.events = EVENT_READ
        self.is_open = True


class Hub:
    """Holds the state that workers share (``state``), and passes their messages on.

    Args:
        max_counters: how many counters are kept.
        monotonic: the clock that counts.
    """

    def __init__(self, *, max_counters: int = 100_000, monotonic: Clock = clock.monotonic) -> None:
        self._state = HeldState(max_counters=max_counters, monotonic=monotonic)
        self._connections: set[_Connection] = set()
        # Not epoll: a forked worker would hold on to what is registered there.
        self._selector = selectors.PollSelector()
        self._unsent: set[_Connection] = set()

    def __len__(self) -> int:
        """The number of connections."""
        return len(self._connections)

    @property
    def unread_bytes(self) -> int:
        """The bytes that wait until workers read."""
        return sum(len(connection.unread) for connection in self._connections)

    def hold(self, max_counters: int) -> None:
        """Keep at most ``max_counters`` from now on."""
        self._state.hold(max_counters)

    def connect(self) -> socket.socket:
        """Return the end of a new connection for a worker."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - its only argument
        connection = _Connection(ours)
        self._connections.add(connection)
        self._selector.register(ours, EVENT_READ, connection)
        return theirs

    def serve(self, until: Collection[int], seconds: float | None) -> None:
        """Serve until one of the descriptors ``until`` can be read, or ``seconds`` have passed."""
        for descriptor in until:
            self._selector.register(descriptor, EVENT_READ, None)
        try:
            self._serve(seconds)
        finally:  # the caller may close one, and its number may be that of the next connection
            for descriptor in until:
                self._selector.unregister(descriptor)

    def _serve(self, seconds: float | None) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        is_due = False
        while not is_due:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            for key, events in self._selector.select(left):
                if key.data is None:
                    is_due = True
                else:
                    self._attend(key.data, events)
            self._send_all()
            is_due = is_due or (end is not None and time.monotonic() >= end)

    def abandon(self) -> None:
        """Close every connection and free the memory, because this process is a worker now."""
        for connection in self._connections:
            connection.end.close()
        self._connections.clear()
        self._selector.close()
        self._state = HeldState()

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()

    def _attend(self, connection: _Connection, events: int) -> None:
        if events & EVENT_WRITE and connection.is_open:
            self._send(connection)
        if events & EVENT_READ and connection.is_open:
            self._read(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            octets = connection.end.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._drop(connection)
            return
        connection.frames.feed(octets)
        self._obey(connection)

    def _obey(self, connection: _Connection) -> None:
        """Do the requests of ``connection``, as long as it reads the answers."""
        try:
            while len(connection.unread) < ENOUGH_UNREAD_BYTES and connection.is_open:
                frame = connection.frames.next()
                if frame is None:
                    break
                number, content = frame
                self._answer(connection, number, read_request(content))
        except MessageError as error:
            logger.error("a message of a worker cannot be read", detail=str(error)[:200])  # noqa: TRY400
            self._drop(connection)
        except Exception:
            logger.exception("a worker's request to the supervisor failed")
            self._drop(connection)
        self._unsent.add(connection)

    def _answer(self, connection: _Connection, number: int, request: Request) -> None:
        answer = self._do(connection, request)
        if connection.has_missed:
            connection.has_missed = False
            connection.unread += framed(0, Missed())
        connection.unread += framed(number, answer)

    def _do(self, connection: _Connection, request: Request) -> Answer:
        match request:
            case Publish(channel, payload):
                return Number(self._publish(channel, payload))
            case Subscribe(channel):
                if len(connection.channels) >= MAX_CHANNELS:
                    raise MessageError("too many channels")
                connection.channels.add(channel)
                return Number(0)
            case Unsubscribe(channel):
                connection.channels.discard(channel)
                return Number(0)
            case Beat():
                return Number(0)
            case _:
                return self._state.answer(request)

    def _publish(self, channel: str, payload: bytes) -> int:
        """Send ``payload`` to every worker that subscribes to ``channel``; return how many these are.

        A worker that does not read is among them: the sender must wait until its lease is over.
        """
        frame = framed(0, Delivery(channel, payload))
        reached = [each for each in self._connections if channel in each.channels]
        for each in reached:
            if len(each.unread) >= MAX_UNREAD_BYTES:
                each.has_missed = True
            else:
                each.unread += frame
                self._unsent.add(each)
        return len(reached)

    def _send_all(self) -> None:
        while self._unsent:
            self._send(self._unsent.pop())

    def _send(self, connection: _Connection) -> None:
        if not connection.is_open:
            return
        was_full = len(connection.unread) >= ENOUGH_UNREAD_BYTES
        try:
            while connection.unread:
                del connection.unread[: connection.end.send(connection.unread)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        has_room = len(connection.unread) < ENOUGH_UNREAD_BYTES
        if was_full and has_room:
            self._obey(connection)  # requests that came before still wait
        if connection.is_open:
            self._wait_for(
                connection, (EVENT_READ if has_room else 0) | (EVENT_WRITE if connection.unread else 0)
            )

    def _wait_for(self, connection: _Connection, events: int) -> None:
        if events != connection.events:
            self._selector.modify(connection.end, events, connection)
            connection.events = events

    def _drop(self, connection: _Connection) -> None:
        if connection.is_open:
            connection.is_open = False
            self._connections.discard(connection)
            self._selector.unregister(connection.end)
            connection.end.close()
