"""A name with several addresses: all are used, and those of servers that are gone cost a moment."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import httpx
import pytest

from metaproxy.forward.engine.addresses import is_address
from metaproxy.forward.engine.connection import Connection
from metaproxy.forward.engine.origin import Origin, connect
from metaproxy.forward.engine.waiting import Patience
from metaproxy.forward.errors import NameNotResolved
from tests.ports import HeldPorts
from tests.unit.forward.scripted import OK, Upstream, answers, upstream

ORIGIN = Origin("http", "compute.example", 8774)
SECONDS = 20.0


class Names:
    """A resolver that knows the addresses of one name, and counts how often it was asked."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Any]:
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in self.ports]


def port_of(compute: Upstream) -> int:
    return compute.url.port or 0


async def opened(names: Names, seconds: float = SECONDS) -> None:
    def nothing(_: Connection) -> None:
        """Neither free nor lost is of interest here."""

    factory = partial(Connection, Patience(SECONDS, SECONDS), on_free=nothing, on_lost=nothing)
    connection = await connect(ORIGIN, factory, tls=None, seconds=seconds, resolve=names)
    connection.abort()


async def test_the_addresses_of_a_name_are_used_in_turn() -> None:
    async with upstream(answers(OK)) as here, upstream(answers(OK)) as there:
        names = Names(port_of(here), port_of(there))
        async with asyncio.timeout(SECONDS):
            while not (here.peers and there.peers):
                await opened(names)

        assert names.asked >= 2


async def test_an_address_that_refuses_is_no_reason_to_fail() -> None:
    nobody = HeldPorts()
    async with upstream(answers(OK)) as compute:
        names = Names(nobody.first, port_of(compute))
        for _ in range(8):
            await opened(names)


async def test_an_address_that_never_answers_is_no_reason_to_fail() -> None:
    # A listener whose queue is full drops new connections in silence.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        with socket.create_connection(silent.getsockname()):
            async with upstream(answers(OK)) as compute:
                names = Names(silent.getsockname()[1], port_of(compute))
                for _ in range(4):
                    await opened(names)


async def test_a_name_whose_addresses_all_refuse_cannot_be_reached() -> None:
    nobody = HeldPorts()

    with pytest.raises(httpx.ConnectError):
        await opened(Names(nobody.first, nobody.first))


async def test_a_name_without_an_address_is_told_as_such() -> None:
    with pytest.raises(NameNotResolved):
        await opened(Names())


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("compute.example", False), ("1", False)],
)
def test_what_is_an_address(host: str, expected: bool) -> None:
    assert is_address(host) is expected
