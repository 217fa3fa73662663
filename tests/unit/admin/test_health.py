from dataclasses import replace
from pathlib import Path

from tests.unit.admin.operated import Operated, told


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
