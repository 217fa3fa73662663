"""Paths over real sockets: authorised is exactly what the upstream sees, or it sees nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import Proxy, running_proxy
from tests.e2e.hostile_paths import PATHS, PathCase, table
from tests.e2e.processes import ROOT
from tests.e2e.sockets import ScriptedUpstream, WireClient

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def careful(folder: Path, upstream: ScriptedUpstream, identity: str) -> Iterator[Proxy]:
    with running_proxy(folder / "careful", upstream=upstream.url, identity=identity) as running:
        yield running


@pytest.mark.parametrize("case", PATHS, ids=str)
def test_a_path_is_refused_or_reaches_the_upstream_as_it_was_authorised(
    case: PathCase, careful: Proxy, upstream: ScriptedUpstream
) -> None:
    upstream.heads.clear()
    with WireClient(careful.port) as client:
        client.send(f"GET {case.path} HTTP/1.1", "Host: compute.example", f"X-Auth-Token: {ALICE.token}")
        assert client.answer().status == case.status

    lines = [head.split(b"\r\n")[0] for head in upstream.heads]
    assert lines == ([f"GET {case.path} HTTP/1.1".encode()] if case.status == 200 else [])


def test_the_published_table_of_paths_is_this_one() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()
