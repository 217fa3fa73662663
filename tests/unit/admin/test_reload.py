from pathlib import Path

from tests.unit.admin.operated import Operated, told


async def test_a_reload_tells_what_is_now_in_use(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).post("/reload", {})

    assert told(answer) == {"path": "metaproxy.yaml", "generation": 2, "needs_restart": []}


async def test_a_refused_file_is_told_with_every_problem(tmp_path: Path) -> None:
    operated = Operated(tmp_path, problems=["metaproxy.yaml:3: one", "metaproxy.yaml:7: two"])

    answer = await operated.post("/reload", {})

    assert answer.status == 422
    assert told(answer)["problems"] == ["metaproxy.yaml:3: one", "metaproxy.yaml:7: two"]
