"""One real Nova for all tests here. They run if they are asked for: ``pytest -m nova``."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.conftest import folder, identity
from tests.nova.server import install, make_databases, running, write_pipeline

__all__ = ["folder", "identity"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test here, and leave them out of a run that does not ask for them."""
    asked_for = "nova" in config.option.markexpr.split() and "not" not in config.option.markexpr
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.nova)
            if not asked_for and "METAPROXY_NOVA" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="installs a Nova: make test-nova"))


@pytest.fixture(scope="module")
def nova(identity: str) -> Iterator[str]:
    programs = install()
    # The path of a unix socket is short: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="nova-") as name:
        home = Path(name)
        make_databases(programs, home)
        write_pipeline(home, identity)
        with running(programs, home) as socket:
            yield socket


@pytest.fixture
def anybody(nova: str) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=nova), base_url="http://nova.test", timeout=300
    ) as client:
        yield client


@pytest.fixture
def alice(anybody: httpx.Client) -> httpx.Client:
    anybody.headers["X-Auth-Token"] = ALICE.token
    return anybody
