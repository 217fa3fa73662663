"""``cache.scope: shared`` for requests whose tokens are validated: what it stores, as the whole line."""

from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from metaproxy.app import create_app
from tests.asgi_driver import drive
from tests.unit.assembly.configured import STATIC, config

CACHE = "cache: {scope: shared, routes: [{path: '/v2.1/{tenant_id}/images', ttl: 60s}]}"
ALICE = [("host", "api"), ("x-auth-token", "alice-token")]


@pytest.mark.parametrize(
    ("said", "is_stored"),
    [
        ("", False),
        ("max-age=60", False),
        ("public", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
    ],
)
async def test_an_answer_to_a_token_is_shared_only_if_the_origin_says_so(
    tmp_path: Path, said: str, is_stored: bool
) -> None:
    fields = {"cache-control": said} if said else {}
    application = create_app(
        config(tmp_path, STATIC, CACHE), answering=JSONResponse({"images": []}, headers=fields)
    )
    await application.start()
    try:
        answers = [await drive(application, "GET", "/v2.1/t1/images", ALICE) for _ in range(3)]
    finally:
        await application.close()

    assert [answer.status for answer in answers] == [200] * 3
    assert [b"; hit" in dict(answer.headers)[b"cache-status"] for answer in answers[1:]] == [is_stored] * 2
