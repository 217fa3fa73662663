from dataclasses import replace
from pathlib import Path

import pytest

from tests.asgi_driver import drive
from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import KEYSTONE, STATIC


async def test_a_process_that_answers_is_alive(tmp_path: Path) -> None:
    assert told(await Operated(tmp_path).get("/healthz")) == {"status": "alive"}


async def test_a_process_that_is_well_is_ready_and_says_why(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).get("/readyz")

    assert answer.status == 200
    assert told(answer)["checks"]["upstream"] == {"well": True, "says": "1 of 1 healthy"}


async def test_while_it_drains_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    operated = Operated(tmp_path)

    operated.application.draining = True

    assert (await operated.get("/readyz")).status == 503
    assert (await operated.get("/healthz")).status == 200


@pytest.mark.parametrize("headers", [[], [("host", "lb.example")]])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/readyz/"])
@pytest.mark.parametrize("admin", ["", "admin: {listen: 0.0.0.0:9774, token: secret}"])
async def test_a_probe_needs_neither_host_nor_token(
    tmp_path: Path, admin: str, path: str, method: str, headers: list[tuple[str, str]]
) -> None:
    answer = await drive(Operated(tmp_path, STATIC, admin).admin, method, path, headers)

    assert answer.status == 200


async def test_a_probe_under_a_foreign_host_learns_no_reasons(tmp_path: Path) -> None:
    answer = await drive(Operated(tmp_path).admin, "GET", "/readyz", [("host", "rebound.example")])

    assert told(answer) == {"status": "ready"}


async def test_before_identity_has_let_it_in_it_is_not_ready(tmp_path: Path) -> None:
    answer = await Operated(tmp_path, KEYSTONE).get("/readyz")

    assert answer.status == 503
    assert told(answer)["checks"]["identity"] == {"well": False, "says": "has not answered yet"}


async def test_a_dead_upstream_is_degraded_and_ready(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    operated.application.forward.targets[0].health.checked(0.0, healthy=False)

    answer = await operated.get("/readyz")

    assert (answer.status, told(answer)["degraded"]) == (200, ["upstream"])


async def test_a_store_that_is_away_is_degraded_and_ready_whatever_it_costs(tmp_path: Path) -> None:
    store = "store: {url: 'redis://127.0.0.1:9/0'}"
    operated = Operated(tmp_path, STATIC, store, "limits: {on_store_failure: deny}")
    await operated.application.start()

    answer = await operated.get("/readyz")
    await operated.application.close()

    assert answer.status == 200
    assert "store" in told(answer)["degraded"]


async def test_a_refused_file_is_told_and_is_no_reason_to_get_no_requests(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    operated.state = replace(operated.state, problems=("metaproxy.yaml:3: server.listne: unknown key",))

    answer = await operated.get("/readyz")

    assert answer.status == 200
    assert "metaproxy.yaml:3: server.listne: unknown key" in told(answer)["checks"]["config"]["says"]


async def test_what_needs_a_restart_is_told(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    operated.state = replace(operated.state, needs_restart=("server.listen",))

    says = told(await operated.get("/readyz"))["checks"]["config"]["says"]
    assert says.endswith("a restart is needed for server.listen")
