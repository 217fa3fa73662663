"""Workers that lie, do not read or die: the supervisor and the other workers go on."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from metaproxy.store.hub import messages
from metaproxy.store.hub.frames import HEAD, MAX_FRAME_BYTES, Frames
from metaproxy.store.hub.frames import framed as framed_content
from metaproxy.store.hub.hub import ENOUGH_UNREAD_BYTES, MAX_UNREAD_BYTES, Hub
from metaproxy.store.hub.messages import (
    Beat,
    Delivery,
    FromHub,
    Missed,
    Number,
    Publish,
    RatedCounter,
    Subscribe,
    Take,
    framed,
    read_from_hub,
)
from tests.unit.store.hub.supervised import SECONDS

COUNTER = RatedCounter("r/project:p", False, 10, 100, 1)
LIES = {
    "no message": framed_content(1, b"\xc1junk"),
    "a message of the hub": framed(1, Number(1)),
    "a length without end": HEAD.pack(MAX_FRAME_BYTES + 1, 1),
    "a counter that weighs nothing": framed(1, Take([RatedCounter("k", False, 0, 1, 1)], 1)),
    "a policy beyond all numbers": framed(1, Take([RatedCounter("k", True, 1, 2**63, 1)], 1)),
    "a charge of a million": framed(1, Take([COUNTER], 10**6)),
    "more wishes than counters": framed(1, Take([COUNTER], 1, [4, 4])),
    "a negative wish": framed(1, Take([COUNTER], 1, [-4])),
    "a key without end": framed(1, Take([RatedCounter("k" * 2000, False, 1, 1, 1)], 1)),
    "a revocation from the future": framed(1, messages.Record(((b"x", -1.0),))),
    "a reading from before the beginning": framed(1, messages.Recall(-1)),
    "a slot without end": framed(1, messages.Enter("project:p", b"s" * 100, 1)),
    "a limit below nothing": framed(1, messages.Enter("project:p", b"s", -1)),
    "a name without end": framed(1, Subscribe("c" * 200)),
    "channels without end": b"".join(framed(n, Subscribe(str(n))) for n in range(200)),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


def connect(hub: Hub) -> socket.socket:
    end = hub.connect()
    end.settimeout(SECONDS)
    return end


def ask(hub: Hub, end: socket.socket, request: messages.Request) -> messages.FromHub:
    end.sendall(framed(1, request))
    frames = Frames()
    while (frame := frames.next()) is None:
        hub.serve([end.fileno()], SECONDS)
        frames.feed(end.recv(65536))
    return read_from_hub(frame[1])


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_worker_that_lies_loses_its_connection_and_no_other_does(hub: Hub, lie: bytes) -> None:
    liar, honest = connect(hub), connect(hub)
    with liar, honest, capture_logs() as logged:
        liar.sendall(lie)
        hub.serve([], 0.0)
        answers = b"".join(iter(lambda: liar.recv(65536), b""))
        assert isinstance(ask(hub, honest, Beat()), Number)
    assert len(answers) < 2000
    assert [each["event"] for each in logged] == ["a message of a worker cannot be read"]


@given(received=st.binary(max_size=200), prefix=st.booleans())
@settings(deadline=None, max_examples=200)
def test_no_bytes_of_a_worker_stop_the_supervisor(received: bytes, prefix: bool) -> None:
    hub = Hub()
    liar, honest = connect(hub), connect(hub)
    with liar, honest:
        with suppress(OSError):
            liar.sendall(framed_content(7, received) if prefix else received)
        assert isinstance(ask(hub, honest, Beat()), Number)
    hub.close()


def test_a_worker_that_does_not_read_gets_no_more_memory_than_the_bounds(hub: Hub) -> None:
    deaf, sender = connect(hub), connect(hub)
    with deaf, sender:
        deaf.sendall(framed(1, Subscribe("news")))
        payload = b"x" * 2**16
        for _ in range(100):
            ask(hub, sender, Publish("news", payload))
        deaf.setblocking(False)
        flood = framed(1, Take([COUNTER], 0)) * 1000
        with suppress(BlockingIOError):
            while True:
                flood = flood[deaf.send(flood) :] or framed(1, Take([COUNTER], 0)) * 1000
                hub.serve([], 0.0)
        assert hub.unread_bytes <= MAX_UNREAD_BYTES + ENOUGH_UNREAD_BYTES + 2 * len(payload)
        assert isinstance(ask(hub, sender, Beat()), Number)


def test_a_worker_that_did_not_read_learns_that_it_has_missed_messages(hub: Hub) -> None:
    slow, sender = connect(hub), connect(hub)
    with slow, sender:
        ask(hub, slow, Subscribe("news"))
        for _ in range(100):
            ask(hub, sender, Publish("news", b"x" * 2**16))

        slow.sendall(framed(7, Beat()))
        received: list[FromHub] = []
        frames = Frames()
        while not received or not isinstance(received[-1], Number):
            hub.serve([slow.fileno()], SECONDS)
            frames.feed(slow.recv(2**20))
            while (frame := frames.next()) is not None:
                received.append(read_from_hub(frame[1]))

        deliveries = received[:-2]
        assert 0 < len(deliveries) < 100
        assert all(isinstance(each, Delivery) for each in deliveries)
        assert received[-2:] == [Missed(), Number(0)]


def test_the_connection_of_a_worker_that_died_is_closed(hub: Hub) -> None:
    dead, other = connect(hub), connect(hub)
    dead.close()
    with other:
        hub.serve([], 0.0)
        assert len(hub) == 1
        assert isinstance(ask(hub, other, Beat()), Number)


def test_a_descriptor_that_was_waited_for_may_be_closed_and_used_again_by_a_worker(hub: Hub) -> None:
    one, other = socket.socketpair()
    other.send(b"\0")
    hub.serve([one.fileno()], None)
    one.close()  # its number is the next connection's
    with other, connect(hub) as worker:
        assert isinstance(ask(hub, worker, Beat()), Number)


def test_a_worker_cannot_hold_the_connections_of_the_others(hub: Hub) -> None:
    """After a fork the child has the supervisor's ends as well, and gives them up."""
    ours = connect(hub)
    with ours:
        hub.abandon()
        assert ours.recv(1) == b""
