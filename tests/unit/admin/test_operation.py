from pathlib import Path

import pytest

from tests.asgi_driver import DISCONNECT, drive
from tests.unit.admin.operated import JSON, Operated

FIELDS = [("host", "127.0.0.1"), JSON]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"level": 1}', b"\xff"])
async def test_a_body_that_cannot_be_read_is_refused(tmp_path: Path, body: bytes) -> None:
    assert (await drive(Operated(tmp_path).admin, "POST", "/logging", FIELDS, [body])).status == 400


async def test_a_body_has_a_bound(tmp_path: Path) -> None:
    chunks = [b"x" * 40_000] * 2

    assert (await drive(Operated(tmp_path).admin, "POST", "/logging", FIELDS, chunks)).status == 413


async def test_a_body_that_breaks_off_changes_nothing(tmp_path: Path) -> None:
    half = [{"type": "http.request", "body": b'{"level": "de', "more_body": True}, DISCONNECT]

    answer = await drive(Operated(tmp_path).admin, "POST", "/logging", FIELDS, messages=half)

    assert answer.status == 400


async def test_answers_are_not_to_be_stored(tmp_path: Path) -> None:
    assert (await Operated(tmp_path).get("/config")).header("cache-control") == "no-store"
