import asyncio
import socket
from pathlib import Path

from metaproxy.admin.service import ConfigState
from metaproxy.server.messages import Ask, Link, Prepare, Serving, ToWorker, framed, received
from tests.unit.assembly.configured import KEYSTONE, STATIC, config

STATE = ConfigState("metaproxy.yaml", generation=1, loaded_at=0.0)


async def test_a_configuration_comes_as_it_was_sent_with_its_files(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    sent = config(tmp_path, KEYSTONE)
    reader, writer = await asyncio.open_connection(sock=theirs)

    link.send(Prepare(1, sent))
    message = await anext(received(reader))

    assert isinstance(message, Prepare)
    assert message.config == sent
    assert list(message.config.files) == [tmp_path / "metaproxy.yaml"]
    assert (
        message.config.files.read(tmp_path / "metaproxy.yaml") == (tmp_path / "metaproxy.yaml").read_bytes()
    )
    writer.close()
    link.close()


async def test_a_worker_that_does_not_read_does_not_block_the_supervisor(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    (tmp_path / "metaproxy.yaml").write_text("")
    sent = config(tmp_path, STATIC, "# " + "x" * 1_000_000)

    link.send(Prepare(1, sent))
    waits = link.has_output
    reader, writer = await asyncio.open_connection(sock=theirs)
    reading: asyncio.Future[ToWorker] = asyncio.ensure_future(anext(received(reader)))
    while not reading.done():
        link.flush()
        await asyncio.sleep(0)

    assert waits
    assert isinstance(await reading, Prepare)
    writer.close()
    link.close()


async def test_messages_end_when_the_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)

    ours.close()

    assert [message async for message in received(reader)] == []
    writer.close()


def test_a_message_that_comes_in_pieces_is_one_message() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    octets = framed(Serving(STATE)) + framed(Ask(1, "operator"))

    theirs.sendall(octets[:5])
    first = list(link.receive())
    theirs.sendall(octets[5:])

    assert (first, list(link.receive())) == ([], [Serving(STATE), Ask(1, "operator")])
    theirs.close()
    assert list(link.receive()) == []
    assert link.is_closed
    link.close()
