from pathlib import Path

import pytest

from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import STATIC

EXPOSED = "admin: {listen: 0.0.0.0:9774, token: secret}"


@pytest.fixture
def exposed(tmp_path: Path) -> Operated:
    return Operated(tmp_path, STATIC, EXPOSED)


@pytest.mark.parametrize("shown", [(), (("authorization", "Bearer wrong"),), (("authorization", "secret"),)])
async def test_without_the_token_nothing_is_told(
    exposed: Operated, shown: tuple[tuple[str, str], ...]
) -> None:
    answer = await exposed.get("/status", *shown)

    assert answer.status == 401
    assert answer.header("www-authenticate") == 'Bearer realm="metaproxy"'


async def test_a_token_shown_twice_is_none(exposed: Operated) -> None:
    twice = [("authorization", "Bearer secret")] * 2

    assert (await exposed.get("/status", *twice)).status == 401


async def test_with_the_token_everything_is_told(exposed: Operated) -> None:
    assert (await exposed.get("/status", ("authorization", "Bearer secret"))).status == 200


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/healthz", "/readyz"])
async def test_the_page_and_the_probes_need_no_token(exposed: Operated, path: str) -> None:
    assert (await exposed.get(path)).status == 200


async def test_a_prober_without_the_token_learns_no_reasons(exposed: Operated) -> None:
    assert told(await exposed.get("/readyz")) == {"status": "ready"}
    assert "checks" in told(await exposed.get("/readyz", ("authorization", "Bearer secret")))


async def test_a_listener_of_this_machine_needs_no_token(tmp_path: Path) -> None:
    assert (await Operated(tmp_path).get("/status")).status == 200
