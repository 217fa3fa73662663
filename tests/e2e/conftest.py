"""The deployment that tests share: one compute API, one Keystone, one proxy a worker."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.deployment import Proxy, running_proxy
from tests.e2e.processes import demo_service


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared processes keep their files."""
    return tmp_path_factory.mktemp("deployment")


@pytest.fixture(scope="session")
def compute(folder: Path) -> Iterator[str]:
    """The URL of a compute API."""
    with demo_service("compute", folder) as url:
        yield url


@pytest.fixture(scope="session")
def identity(folder: Path) -> Iterator[str]:
    """The URL of a Keystone."""
    with demo_service("identity", folder) as url:
        yield url


@pytest.fixture(scope="module")
def shared_proxy(tmp_path_factory: pytest.TempPathFactory, compute: str, identity: str) -> Iterator[Proxy]:
    """A proxy that the tests of one file share."""
    with running_proxy(tmp_path_factory.mktemp("proxy"), upstream=compute, identity=identity) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: Proxy, compute: str) -> Proxy:
    """A proxy whose cache is empty for the images' metadata, and a compute API that behaves."""
    httpx.delete(f"{compute}/_demo/behaviour", trust_env=False)
    return shared_proxy
