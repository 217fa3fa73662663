"""One real Keystone for all tests here. They run where they are asked for: ``pytest -m keystone``."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.keystone.cloud import Cloud
from tests.keystone.server import bootstrap, install, running
from tests.ports import HeldPorts

HERE = Path(__file__).parent
PASSWORD = "a-password"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test here, and leave them out of a run that does not ask for them."""
    asked_for = "keystone" in config.option.markexpr or "METAPROXY_KEYSTONE" in os.environ
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.keystone)
            if not asked_for:
                item.add_marker(pytest.mark.skip(reason="installs a Keystone: make test-keystone"))


@dataclass(frozen=True)
class Deployment:
    """A Keystone with a project, a user ``alice`` in it, and our service user ``metaproxy``.

    ``brief`` is the same Keystone, but the tokens that are issued there live two seconds.
    """

    cloud: Cloud
    brief: Cloud
    socket: str
    port: int
    project_id: str
    alice_id: str
    service_user_id: str

    def token(self, user: str = "alice") -> str:
        """Return a new token of ``user``, scoped to the project."""
        return self.cloud.log_in(user, PASSWORD, {"project": {"id": self.project_id}})


@pytest.fixture(scope="session")
def keystone() -> Iterator[Deployment]:
    programs = install()
    # The path of a unix socket is short: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="keystone-") as name:
        folder = Path(name)
        bootstrap(programs, folder)
        with (
            HeldPorts(2) as held,
            running(programs, folder, name="main", port=held.first) as socket,
            running(programs, folder, name="brief", port=held.numbers[1], expiration=2) as brief_socket,
            Cloud(socket) as cloud,
            Cloud(brief_socket) as brief,
        ):
            project_id, service_id = cloud.project("one"), cloud.project("service")
            alice_id = cloud.user(
                "alice", PASSWORD, member=f"projects/{project_id}", reader="domains/default"
            )
            metaproxy_id = cloud.user("metaproxy", PASSWORD, service=f"projects/{service_id}")
            cloud.user("nova", PASSWORD, service=f"projects/{project_id}")
            yield Deployment(cloud, brief, socket, held.first, project_id, alice_id, metaproxy_id)
