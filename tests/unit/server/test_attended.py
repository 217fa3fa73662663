"""The configuration is read in the supervisor, and its workers do not wait for that."""

import threading

import pytest

from metaproxy.admin.service import ReloadRefused
from metaproxy.server.source import attend
from metaproxy.store.hub.frames import Frames
from metaproxy.store.hub.hub import Hub
from metaproxy.store.hub.messages import Beat, Number, framed, read_from_hub


def test_a_worker_is_answered_while_the_configuration_is_read() -> None:
    hub = Hub()
    with hub.connect() as worker:
        worker.settimeout(30)

        def read() -> str:
            worker.sendall(framed(1, Beat()))
            frames = Frames()
            while (frame := frames.next()) is None:
                frames.feed(worker.recv(65536))
            return repr(read_from_hub(frame[1]))

        assert attend(hub, read) == repr(Number(0))
    hub.close()


def test_the_thread_has_ended_before_the_supervisor_goes_on() -> None:
    hub = Hub()
    before = threading.active_count()
    attend(hub, lambda: None)
    assert threading.active_count() == before
    hub.close()


def test_a_refusal_is_raised_in_the_supervisor() -> None:
    hub = Hub()

    def read() -> None:
        raise ReloadRefused(["a bad line"])

    with pytest.raises(ReloadRefused, match="a bad line"):
        attend(hub, read)
    hub.close()
