"""The deployment that the tests of one file share: a compute API, a Keystone, a proxy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, running_proxy
from tests.e2e.processes import demo_service
from tests.e2e.sockets import ScriptedUpstream, always_ok


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared processes keep their files."""
    return tmp_path_factory.mktemp("deployment")


@pytest.fixture(scope="module")
def compute(folder: Path) -> Iterator[str]:
    """The URL of a compute API."""
    with demo_service("compute", folder) as url:
        yield url


@pytest.fixture(scope="module")
def identity(folder: Path) -> Iterator[str]:
    """The URL of a Keystone."""
    with demo_service("identity", folder) as url:
        yield url


@pytest.fixture(scope="module")
def proxy(folder: Path, compute: str, identity: str) -> Iterator[Proxy]:
    """A proxy in front of both."""
    with running_proxy(folder / "proxy", upstream=compute, identity=identity) as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedUpstream]:
    """An upstream that answers as the test says."""
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture
def upstream(scripted: ScriptedUpstream) -> ScriptedUpstream:
    """An upstream that has seen nothing yet, and answers every request with 200."""
    scripted.script = always_ok
    scripted.heads.clear()
    return scripted
