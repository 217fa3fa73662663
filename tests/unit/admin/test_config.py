from pathlib import Path

from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import STATIC


async def test_the_configuration_in_use_is_told_with_every_default(tmp_path: Path) -> None:
    loaded = told(await Operated(tmp_path).get("/config"))

    assert (loaded["path"], loaded["generation"], loaded["problems"]) == ("metaproxy.yaml", 1, [])
    assert loaded["config"]["server"]["shutdown_grace"] == "30s"


async def test_secrets_are_not_told(tmp_path: Path) -> None:
    admin = "admin: {listen: 127.0.0.1:9774, token: s3cret}"
    operated = Operated(tmp_path, STATIC, admin)

    answer = await operated.get("/config", ("authorization", "Bearer s3cret"))

    assert b"alice-token" not in answer.body
    assert b"s3cret" not in answer.body
    assert told(answer)["config"]["admin"]["token"] == "***"
