from pathlib import Path

import pytest

from tests.asgi_driver import drive
from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import STATIC


async def asked_by_alice(operated: Operated) -> int:
    fields = [("host", "api"), ("x-auth-token", "alice-token")]
    return (await drive(operated.application, "GET", "/v2.1/t1/images", fields)).status


async def test_a_revoked_token_is_rejected_from_then_on(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    before = await asked_by_alice(operated)

    answer = told(await operated.post("/tokens/revoke", {"token": "alice-token"}))

    assert (before != 401, answer, await asked_by_alice(operated)) == (True, {"forgotten": 1}, 401)


async def test_the_tokens_of_a_user_are_asked_about_anew(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    await asked_by_alice(operated)

    assert told(await operated.post("/tokens/revoke", {"user_id": "u1"})) == {"forgotten": 1}
    assert await asked_by_alice(operated) != 401


@pytest.mark.parametrize(
    "asked", [{}, {"token": ""}, {"token": "a", "user_id": "u1"}, {"name": "alice"}, {"token": 7}]
)
async def test_a_revocation_that_names_nothing_is_refused(tmp_path: Path, asked: dict[str, object]) -> None:
    assert (await Operated(tmp_path).post("/tokens/revoke", asked)).status == 400


async def test_a_refusal_does_not_repeat_the_token(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).post("/tokens/revoke", {"token": "s3cret", "user_id": "u1"})

    assert b"s3cret" not in answer.body


async def test_where_no_token_is_checked_none_can_be_revoked(tmp_path: Path) -> None:
    operated = Operated(tmp_path, "identity: {provider: none}")

    assert (await operated.post("/tokens/revoke", {"token": "alice-token"})).status == 409


async def test_a_revocation_that_the_store_does_not_take_goes_on_by_itself_and_says_so(
    tmp_path: Path,
) -> None:
    operated = Operated(tmp_path, STATIC, "store: {url: 'redis://127.0.0.1:1', timeout: 1s}")

    answer = await operated.post("/tokens/revoke", {"token": "alice-token"})
    await operated.application.close()

    assert answer.status == 503
    error = told(answer)["error"]
    assert "could not be told yet: they are as soon as that is possible" in error
    assert "try again" not in error
