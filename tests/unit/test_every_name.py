"""One verdict for every name of a resource, by every kind of rule: first and remembered, on both ways."""

import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from metaproxy.app import Application, create_app
from metaproxy.config import Config, load_config
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.protocol import EdgeProtocol
from metaproxy.server.switch import Switch
from tests.e2e.processes import ROOT
from tests.unit.fast_lane.fronts import until
from tests.unit.fast_lane.lines import Wire, request
from tests.unit.forward.scripted import Upstream, answers, upstream
from tests.unit.names_table import (
    CERTAIN,
    IMAGE,
    MOUNTS,
    OWNER,
    PREFIXES,
    PROJECT,
    READER,
    ROWS,
    STRANGER,
    Row,
    names,
    some_names,
    table,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"metadata":{}}'
TOKENS = [
    {"token": OWNER, "user": {"id": "o"}, "project": {"id": PROJECT}, "roles": ["member"]},
    {"token": READER, "user": {"id": "r"}, "project": {"id": PROJECT}, "roles": ["reader"]},
    {"token": STRANGER, "user": {"id": "s"}, "project": {"id": "b" * 32}, "roles": ["member"]},
]


class Door:
    """A whole application in front of an upstream, and one connection to it."""

    def __init__(self, application: Application, origin: Upstream, *, fast: bool) -> None:
        self.switch = Switch(application)
        self.origin = origin
        trace = application.trace
        config = uvicorn.Config(self.switch, lifespan="off", log_config=None, ws="none")
        config.load()
        self.wire = Wire()
        edge = Edge(EdgeLimits(), trace.signature, trace.record, trace.date, self.switch if fast else None)
        self.protocol = EdgeProtocol(config, ServerState(), {}, edge=edge)
        self.protocol.connection_made(self.wire)

    async def ask(self, octets: bytes) -> bytes:
        """Return the answer to a request."""
        self.wire.written.clear()
        self.protocol.data_received(octets)
        await until(self.is_calm)
        return b"".join(self.wire.written)

    def reload(self, configured: dict[str, Any]) -> None:
        """Take another configuration into use; the connection goes on."""
        application = create_app(config_of(self.origin, configured), self.switch.application)
        application.take_over()
        self.switch.replace(application)

    def is_calm(self) -> bool:
        self.protocol.edge.outbox.flush()
        is_complete = self.protocol.answers.current is None
        return not self.protocol.tasks and is_complete and bool(self.wire.written)


def config_of(origin: Upstream, configured: dict[str, Any]) -> Config:
    written = {
        "server": {"listen": "127.0.0.1:0"},
        "upstream": {
            "targets": [origin.origin],
            "strip_prefix": "/compute",
            "timeouts": {"connect": "1m"},
        },
        "logging": {"access": False},
        **configured,
        "identity": {"provider": "static", "tokens": TOKENS, **configured.get("identity", {})},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "metaproxy.yaml"
        file.write_text(yaml.safe_dump(written))
        return load_config(file, {})


@asynccontextmanager
async def door(configured: dict[str, Any], *, fast: bool, answer: bytes = OK) -> AsyncIterator[Door]:
    async with upstream(answers(answer)) as origin:
        opened = Door(create_app(config_of(origin, configured)), origin, fast=fast)
        try:
            yield opened
        finally:
            await opened.switch.close()


def asked(row: Row, name: str) -> bytes:
    fields = [f"X-Auth-Token: {row.token}"] if row.token else []
    return request(row.method, name, fields=[*fields, "Content-Type: application/json"], body=row.body)


async def hold(row: Row, paths: Sequence[str], *, fast: bool) -> None:
    """Ask for the resource of ``row`` under each of its names; the verdict must be the one of the row."""
    async with door(row.configured, fast=fast) as opened:
        await hold_in(opened, row, paths)


async def hold_in(opened: Door, row: Row, paths: Sequence[str], *, first: int = 0) -> None:
    """As ``hold``, with the answers of the row from ``first`` on."""
    for number, path in enumerate(paths, first):
        answer = await opened.ask(asked(row, path))
        status = row.statuses[min(number, len(row.statuses) - 1)]
        assert answer.startswith(b"HTTP/1.1 %d " % status), (row.kind, number, path, answer)
        assert row.holds.encode() in answer, (row.kind, path)


@pytest.mark.parametrize("fast", [False, True], ids=["line", "lane"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
async def test_a_rule_says_the_same_of_every_name_first_and_remembered(row: Row, fast: bool) -> None:
    paths = some_names(row.resource, row.prefixes)
    random.Random(row.kind).shuffle(paths)

    await hold(row, [path for path in paths for _ in range(3)], fast=fast)


OTHERWISE: dict[str, Any] = {"authorization": {"methods": False, "tenant_in_path": False}}
"""What stands in the place of a rule that holds if nothing is configured."""
ANOTHER_PART = {"via": {"pseudonym": "another"}, "cache": {"routes": [{"path": "/v2.1/{t}/flavors/{f}"}]}}


@pytest.mark.parametrize("fast", [False, True], ids=["line", "lane"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
async def test_a_rule_holds_for_every_name_from_the_reload_that_brings_it_to_the_one_that_takes_it_away(
    row: Row, fast: bool
) -> None:
    without = {} if row.configured else OTHERWISE
    every = [random.Random(row.kind).choice(names(row.resource, [prefix])) for prefix in row.prefixes]
    paths = [path for path in every for _ in range(2)]
    async with door(without, fast=fast) as opened:
        before = [(await opened.ask(asked(row, path)))[:12] for path in paths]

        opened.reload(row.configured)
        await hold_in(opened, row, paths)
        opened.reload({**row.configured, **ANOTHER_PART})
        await hold_in(opened, row, paths, first=len(paths))  # counters go on where they were

        opened.reload(without)
        assert [(await opened.ask(asked(row, path)))[:12] for path in paths] == before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
async def test_no_order_of_names_leads_past_a_rule(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ROWS))
    some = st.sampled_from(names(row.resource, row.prefixes))

    await hold(row, data.draw(st.lists(some, min_size=1, max_size=8)), fast=data.draw(st.booleans()))


ROUTE = {"cache": {"routes": [{"path": "/v2.1/{tenant_id}/images/{image_id}/metadata"}]}}
FLAVORS = {"cache": {"routes": [{"path": "/v2/{tenant_id}/flavors/{flavor_id}"}]}}


@pytest.mark.parametrize("fast", [False, True], ids=["line", "lane"])
@pytest.mark.parametrize(
    ("configured", "resource"), [(ROUTE, f"/images/{IMAGE}/metadata"), (FLAVORS, "/flavors/7")]
)
async def test_a_write_through_one_name_is_seen_under_every_name(
    configured: dict[str, Any], resource: str, fast: bool
) -> None:
    read = Row("", "", (), {}, resource, token=OWNER)
    write = Row("", "", (), {}, resource, method="PUT", token=OWNER, body="{}")
    paths = some_names(resource, CERTAIN)  # answers for other names are not stored
    async with door(configured, fast=fast) as opened:
        for path in paths:
            first, again = [await opened.ask(asked(read, path)) for _ in range(2)]
            assert b"; stored" in first, path
            assert b"; hit" in again, path
        for written in [prefix + resource for prefix in PREFIXES] + [f"/compute/v2{resource}.json"]:
            await opened.ask(asked(write, written))
            for path in paths[::3]:
                assert b"; hit" not in await opened.ask(asked(read, path)), (written, path)
                assert b"; hit" in await opened.ask(asked(read, path)), (written, path)


async def test_what_is_stored_under_one_name_is_found_under_no_other() -> None:
    paths = names(f"/images/{IMAGE}/metadata")
    async with door(ROUTE, fast=True) as opened:
        for path in paths:
            read = Row("", "", (), {}, token=OWNER)
            assert b"; hit" not in await opened.ask(asked(read, path)), path


@pytest.mark.parametrize("fast", [False, True], ids=["line", "lane"])
async def test_the_upstream_gets_the_name_that_was_asked_for_without_the_prefix(fast: bool) -> None:
    paths = some_names("/servers/7")
    async with door({}, fast=fast) as opened:
        for path in paths:
            await opened.ask(asked(Row("", "", (), {}, token=OWNER), path))
        lines = [head.split(b"\r\n")[0].decode().split()[1] for head in opened.origin.heads]

    inside = [
        next(path.removeprefix(mount) for mount in (*MOUNTS[1:], "") if path.startswith(mount))
        for path in paths
    ]
    assert lines == inside


@pytest.mark.parametrize("fast", [False, True], ids=["line", "lane"])
async def test_a_link_gets_the_prefix_back_if_the_client_has_sent_it(fast: bool) -> None:
    moved = OK.replace(b"\r\n", b"\r\nLocation: http://api/v2.1/servers/8\r\n", 1)
    async with door({}, fast=fast, answer=moved) as opened:
        for path in ["/v2.1/servers/7", "/compute/v2.1/servers/7"] * 4:
            answer = await opened.ask(asked(Row("", "", (), {}, token=OWNER), path))
            mount = b"/compute" if path.startswith("/compute") else b""
            assert b"\r\nlocation: http://api%b/v2.1/servers/8\r\n" % mount in answer


def test_the_published_table_of_names_is_this_one() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()
