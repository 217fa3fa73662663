import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from metaproxy.forward.transport import UpstreamTransport

MakeTransport = Callable[..., UpstreamTransport]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test with sockets runs on both event loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def make_transport() -> AsyncIterator[MakeTransport]:
    """Makes transports that give up soon, and closes them."""
    made: list[UpstreamTransport] = []

    def make(**arguments: Any) -> UpstreamTransport:
        transport = UpstreamTransport(
            **{"connect_timeout": 60.0, "read_timeout": 60.0, "write_timeout": 60.0, **arguments}
        )
        made.append(transport)
        return transport

    yield make
    for transport in made:
        await transport.aclose()
