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


@pytest.mark.parametrize("shown", ["bearer secret", "BEARER secret", "Bearer  secret"])
async def test_the_scheme_is_read_in_any_case(exposed: Operated, shown: str) -> None:
    assert (await exposed.get("/status", ("authorization", shown))).status == 200


async def test_a_wrong_token_is_not_called_a_missing_one(exposed: Operated) -> None:
    wrong = await exposed.get("/status", ("authorization", "Bearer wrong"))

    assert told(wrong) == {"error": "the Bearer token is wrong"}
    assert told(await exposed.get("/status")) == {"error": "a Bearer token is needed"}


async def test_metrics_alone_can_be_opened(tmp_path: Path) -> None:
    public = "admin: {listen: 0.0.0.0:9774, token: secret, public_metrics: true}"
    operated = Operated(tmp_path, STATIC, public)

    assert (await operated.get("/metrics")).status == 200
    assert (await operated.get("/status")).status == 401


async def test_metrics_need_the_token_unless_they_are_opened(exposed: Operated) -> None:
    assert (await exposed.get("/metrics")).status == 401


async def test_what_does_not_exist_is_refused_in_json(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).get("/nothing")

    assert answer.status == 404
    assert "/nothing" in told(answer)["error"]


async def test_a_listener_of_this_machine_needs_no_token(tmp_path: Path) -> None:
    assert (await Operated(tmp_path).get("/status")).status == 200
