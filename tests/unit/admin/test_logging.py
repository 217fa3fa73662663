import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.admin.operated import Operated, told


@pytest.fixture(autouse=True)
def level_as_before() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def test_the_level_changes_at_run_time(tmp_path: Path) -> None:
    operated = Operated(tmp_path)

    changed = await operated.post("/logging", {"level": "debug"})

    assert told(changed) == told(await operated.get("/logging")) == {"level": "debug"}
    assert logging.getLogger().level == logging.DEBUG


async def test_a_level_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert (await Operated(tmp_path).post("/logging", {"level": "loud"})).status == 400
