"""One client connection: a ``Reader`` makes requests of octets, ``Answers`` gives each of them its turn, and
``Deadlines`` knows by when the client must have sent, or read.

A client may send requests before the earlier ones are answered, so two machines run side by side. The reader
has the states of ``Reading``:

    event                    BETWEEN           HEAD             BODY                  OVER
    octets                   HEAD, BODY, or    HEAD, BODY       to the request        dropped; the connection
                             repeated: answer                                         lingers at its end
    they are no request      refuse, OVER      refuse, OVER     refuse, OVER          -
    a head is complete       -                 BODY: a turn     -                     -
    a request is complete    -                 -                BETWEEN; last: OVER   -
    the time is over, idle   close             refuse 408       close                 -
    ", not idle              -                 refuse 408       refuse 408            -
    the server leaves, idle  close in a while  close in a while the next answer       -
                                                                says close
    ", not idle              OVER              the same         the same              -

Idle means that every request read so far is answered. The answers are idle, or have a current turn and
requests that wait for theirs, or a refusal that waits behind all of them:

    event                    idle              a turn                                 and a refusal
    a request is read        its turn          waits; it is the last if too many do   -
    an answer is complete    -                 the next turn, or idle                 the next turn, or it
    it says close            -                 end; what waits is dropped             the same
    refuse                   write it, end     if its body fails: write it, end;      -
                                               else it waits
    the server leaves        -                 the newest answer says close;          the same
                                               if it has begun: the next one
    the client does not read abort after       the same; the application waits        the same
                             body_timeout
    the client leaves        -                 the application is told                the same

The end closes both. If the client still sends, ``LingeringProtocol`` takes the connection over, so that the
last answer can be read. ``Connection: close`` in its head says that the connection takes no further request
(RFC 9112 §9.6). An answer whose head is out already cannot say so: its client may send the next request as
soon as it has read it. So such a connection is kept for a moment when the server leaves, and says it with the
next answer. So is one on which a body is still coming, whose answer would be lost if it were closed.
"""

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn import Config
from uvicorn.server import ServerState

from metaproxy.fast_lane.passing import Passing
from metaproxy.protocol.addresses import canonical, counted_as
from metaproxy.protocol.faults import Fault
from metaproxy.server.answers import Answers
from metaproxy.server.deadlines import Deadlines
from metaproxy.server.edge import Edge
from metaproxy.server.flow import Flow
from metaproxy.server.lingering import linger
from metaproxy.server.listener_tls import ListenerContext
from metaproxy.server.reading import BETWEEN, BODY, HEAD, HEAD_END, Reader

PORTION_BYTES = 16384
PORTION_HEADS = 4
"""So many octets of a client, and so many heads, are taken in one turn of the event loop; then others have
theirs. A client may send hundreds of requests that are all answered at once. So may a thousand clients."""

NAMELESS = "?"
"""In place of the address of a TCP peer that left before it was asked: no head is remembered for it."""


class EdgeProtocol(asyncio.Protocol):
    """One client connection; see above. uvicorn makes it, and holds its tasks.

    Args:
        app_state, loop: what uvicorn gives to every protocol; not used.
    """

    transport: asyncio.Transport
    flow: Flow
    deadlines: Deadlines
    reader: Reader
    answers: Answers

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        self.edge = edge
        self.limits = edge.limits
        self.tasks = server_state.tasks
        self.is_leaving = False
        self.client: tuple[str, int] | None = None
        self.address = ""
        """The client's, or "" for a peer without one."""
        self._config = config
        self._app: Any = config.loaded_app
        self._connections: set[Any] = server_state.connections
        self._loop = asyncio.get_running_loop()
        self._scheme = "http"
        self._octets = b""
        self._counted_as = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is for TCP
        """A client has connected."""
        self.transport = transport
        self._connections.add(self)
        server = self._settle_peers()
        self.flow = Flow(transport)
        self.deadlines = Deadlines(self.limits, self._loop.time())
        connection = {"client": self.client, "server": server, "scheme": self._scheme}
        self.reader = Reader(self, self.limits, connection)
        self.answers = Answers(
            self.flow,
            edge=self.edge,
            reader=self.reader,
            deadlines=self.deadlines,
            address=self.address if self.client else "",
            linger=self._linger,
            tasks=self.tasks,
        )
        self._counted_as = counted_as(self.address, self.limits.ipv6_prefix)
        of_address = self.edge.addresses.connected(self._counted_as) if self.client else 0
        connections = len(self._connections) - self.edge.lingering
        if reason := self.limits.one_too_many(connections, of_address, self.address):
            self.edge.refusals.add(reason, connections=connections)
            self.answers.refuse(Fault(503, "Too many connections.", reason=reason, retry_after=1))
        context = self._config.ssl
        if isinstance(context, ListenerContext) and not context.is_valid(transport):
            # Its handshake began before its authority was removed. Closing would still read what came with
            # the end of the handshake.
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.discard(self)
        self.answers.client_left()
        self.reader.close()
        if self.client:
            self.edge.addresses.disconnected(self._counted_as)

    def data_received(self, data: bytes) -> None:
        """Octets have come: answer or read them, then set the time for the next ones."""
        if self.transport.is_closing():
            return
        if len(data) > PORTION_BYTES:
            self._take_portions(data)
            return
        reader, answers = self.reader, self.answers
        self._octets = b""
        if reader.state is BETWEEN:
            if data.find(HEAD_END) + len(HEAD_END) == len(data):
                if self._repeats(data):
                    return
                self._octets = data
            elif data.count(HEAD_END) > PORTION_HEADS:
                self._take_portions(data)
                return
        try:
            reader.feed(data)
        except Fault as fault:
            answers.refuse(fault)
            return
        newest = answers.newest
        if reader.state is HEAD:
            if reader.head_began:
                self.deadlines.head_began(self._loop.time())
        elif newest is not None and newest.more_body:
            self.deadlines.body_read(self._loop.time(), reader.body_bytes)
        elif newest is not None:
            self.deadlines.request_read()

    def _take_portions(self, data: bytes, taken: int = 0) -> None:
        """Take ``data`` a portion a turn, without what is ``taken``; a body goes on in the same turn."""
        while not self.transport.is_closing():
            end = _end_of_portion(data, taken)
            if end == len(data):
                self.flow.release_reading()
                self.data_received(data[taken:])
                return
            self.flow.hold_reading()
            self.data_received(data[taken:end])
            taken = end
            if self.reader.state is not BODY:
                self._loop.call_soon(self._take_portions, data, taken)
                return

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self.deadlines.write_paused(self._loop.time())
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.deadlines.write_resumed()
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """Leave gracefully: the next head says so, be it of the answer under way or of the one after it."""
        self.is_leaving = True
        newest = self.answers.newest
        if self.reader.state is BODY or (newest is not None and newest.response_started):
            return
        if newest is None:
            self.deadlines.leave(self._loop.time())
        else:
            newest.keep_alive = False
            self.reader.take_no_more()

    def expire(self, now: float, *, pressed: bool = False) -> None:
        """Close the connection if a deadline has passed at ``now`` (the loop's seconds).

        If there is hardly room for others (``pressed``), an idle one has less time.
        """
        deadlines = self.deadlines
        if 0.0 < deadlines.write_by < now:
            self.answers.give_reason("client_not_reading")
            self.flow.reset()
            return
        if self.transport.is_closing():
            # The last octets may never be taken; the connection would stay for good.
            deadlines.write_paused(now)
            return
        in_head = self.reader.state is HEAD
        is_idle = not in_head and self.answers.current is None
        late = deadlines.read_has_passed(now, idle=is_idle, leaving=self.is_leaving, pressed=pressed)
        if not late or self.flow.read_paused:
            return
        if is_idle:
            self.transport.close()
        elif in_head:
            self.answers.refuse(Fault(408, "The request's head came too slowly.", reason="header_timeout"))
        else:
            self.answers.refuse(Fault(408, "The request's body came too slowly.", reason="body_timeout"))

    # The calls of the reader.

    def head_read(self, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        """Let the fast lane answer a request, or the application that it names."""
        answers, octets = self.answers, self._octets
        self.deadlines.head_ended()
        keep_alive = keep_alive and not self.is_leaving
        if not answers.has_room:
            # RFC 9112 §9.3.2: what is not answered by then, the client sends again on another connection.
            keep_alive, self.reader.sends_on = False, True
        self.reader.is_last = not keep_alive
        app = self._app
        lane = self.edge.fast_lane
        if lane is not None and answers.current is None and not self.flow.write_paused:
            answer = lane.answer(scope, keep_alive=keep_alive, octets=octets)
            if isinstance(answer, bytes):
                answers.write(answer, keep_alive=keep_alive)
                return
            if isinstance(answer, Passing):
                answers.pass_on(answer, keep_alive=keep_alive, more_body=True)
                return
            app = answer
        answers.run(app, scope, keep_alive=keep_alive, expects_continue=expects_continue)

    def body_read(self, data: bytes) -> None:
        """Give a piece of a body to its request, unless that is answered already."""
        if (newest := self.answers.newest) is not None:
            newest.body_read(data)

    def request_read(self) -> None:
        """Note that a request is complete."""
        if (newest := self.answers.newest) is not None:
            newest.request_read()

    def _repeats(self, octets: bytes) -> bool:
        """Let the fast lane answer a request that came as these very octets before."""
        lane, answers = self.edge.fast_lane, self.answers
        if lane is None or answers.current is not None or self.flow.write_paused or self.is_leaving:
            return False
        answer = lane.repeat(octets, self.address, self._scheme)
        if answer is None:
            return False
        if isinstance(answer, bytes):
            self.edge.outbox.write(self.transport, answer, self._loop)
            # Nothing was paused, no request waits: this is what is left of the end of an answer.
            self.deadlines.wait_for_request(self._loop.time())
        else:
            answers.pass_on(answer, keep_alive=True, more_body=False)
            self.deadlines.request_read()
        return True

    def _settle_peers(self) -> tuple[str, int | None] | None:
        """Spell the client's address canonically, or note that it has none; return the server's."""
        own, peer = _name(self.transport, "sockname"), _name(self.transport, "peername")
        server = (str(own[0]), int(own[1])) if isinstance(own, tuple) else (own, None) if own else None
        if isinstance(peer, tuple):
            self.client = (canonical(str(peer[0])), int(peer[1]))
            self.address = self.client[0]
        elif not isinstance(own, str):
            # A TCP peer that has left already has no name either. It must not pass for one on a unix socket.
            self.address = NAMELESS
        self._scheme = "https" if self.transport.get_extra_info("sslcontext") else "http"
        return server

    def _linger(self) -> None:
        linger(self, self.transport, self.flow, self.edge, self._connections)


def _end_of_portion(data: bytes, begin: int) -> int:
    """Return where the portion ends that begins at ``begin``."""
    end = min(len(data), begin + PORTION_BYTES)
    at = begin
    for _ in range(PORTION_HEADS):
        if (found := data.find(HEAD_END, at, end)) < 0:
            return end
        at = found + len(HEAD_END)
    return at


def _name(transport: asyncio.Transport, which: str) -> Any:
    """Return a name of the socket: a tuple, or a unix socket's path; None if it is not connected any more."""
    try:
        return transport.get_extra_info(which)
    except OSError:
        return None
