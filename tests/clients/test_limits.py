"""The clients that users have read the limits answer: rates of ours, absolute limits of both."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.clients.environment import install, limits_read_by
from tests.e2e.deployment import METADATA, RED_API, Proxy, running_proxy
from tests.e2e.processes import demo_service

pytestmark = [pytest.mark.e2e, pytest.mark.clients]

PLACE = "/v2.1/{tenant_id}/images/{image_id}/metadata/**"
LIMITS = {
    "rates": [{"name": "reads", "path": PLACE, "methods": ["GET", "HEAD"], "rate": "1000/day"}],
    "absolute": {"image_metadata_items": 40},
}


@pytest.fixture(scope="module")
def clients() -> Path:
    return install()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with (
        demo_service("compute", tmp_path) as compute,
        demo_service("identity", tmp_path) as identity,
        running_proxy(
            tmp_path / "proxy", upstream=compute, identity=identity, sections={"limits": LIMITS}
        ) as running,
    ):
        yield running


@pytest.mark.parametrize("client", ["openstacksdk", "novaclient"])
def test_a_real_client_reads_where_its_user_stands(clients: Path, proxy: Proxy, client: str) -> None:
    with proxy.client(ALICE) as alice:
        assert alice.get(METADATA).status_code == 200

    read = limits_read_by(clients, client, f"{proxy.url}{RED_API}", ALICE.token)

    assert [rate[:5] for rate in read["rates"]] == [
        [PLACE, "GET", 1000, 999, "DAY"],
        [PLACE, "HEAD", 1000, 999, "DAY"],
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rate[5]) for rate in read["rates"])
    assert read["absolute"]["maxImageMeta"] == 40
