"""Pages of other origins: preflights are answered, and every answer says who may read it."""

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.cors import Cors
from metaproxy.identity.static import StaticTokens
from tests.asgi_driver import Answer, drive

HORIZON = "https://horizon.example"
STRANGER = "https://evil.invalid"
PREFLIGHT = ("Access-Control-Request-Method", "PUT")


class Upstream:
    """Answers 200 with CORS fields of its own, as an API with its own middleware does."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        fields = [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Accept"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b""})


async def ask(
    method: str, *headers: tuple[str, str], origins: Sequence[str] = (HORIZON,), **options: Any
) -> tuple[Answer, Upstream]:
    upstream = Upstream()
    return await drive(Cors(upstream, origins=origins, **options), method, "/", headers=headers), upstream


async def test_a_preflight_of_an_origin_that_may_ask_is_answered_without_the_upstream() -> None:
    answer, upstream = await ask("OPTIONS", ("Origin", HORIZON), PREFLIGHT)

    assert (answer.status, answer.body, upstream.calls) == (204, b"", 0)
    assert answer.header("access-control-allow-origin") == HORIZON
    assert answer.header("access-control-allow-methods") == "GET, HEAD, POST, PUT, DELETE"
    assert "X-Auth-Token" in (answer.header("access-control-allow-headers") or "")
    assert answer.header("access-control-max-age") == "600"
    assert answer.header("access-control-allow-credentials") is None
    assert answer.all("vary") == ["Origin"]
    assert answer.exchange.outcome == "answered"


async def test_a_preflight_of_another_origin_is_refused() -> None:
    answer, upstream = await ask("OPTIONS", ("Origin", STRANGER), PREFLIGHT)

    assert (answer.status, answer.exchange.reason, upstream.calls) == (403, "origin_not_allowed", 0)
    assert answer.header("access-control-allow-origin") is None
    assert answer.all("vary") == ["Origin"]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", [("Origin", HORIZON)]),
        ("OPTIONS", [PREFLIGHT]),
        ("OPTIONS", [("Origin", HORIZON), ("Origin", HORIZON), PREFLIGHT]),
        ("GET", [("Origin", HORIZON), PREFLIGHT]),
    ],
)
async def test_what_is_no_preflight_goes_on(method: str, headers: list[tuple[str, str]]) -> None:
    _, upstream = await ask(method, *headers)

    assert upstream.calls == 1


async def test_an_answer_says_who_may_read_it_in_place_of_the_upstream() -> None:
    answer, _ = await ask("GET", ("Origin", HORIZON))

    assert answer.header("access-control-allow-origin") == HORIZON
    assert answer.header("access-control-allow-credentials") is None
    assert "X-Compute-Request-Id" in (answer.header("access-control-expose-headers") or "")
    assert answer.all("vary") == ["Accept", "Origin"]


@pytest.mark.parametrize("headers", [[], [("Origin", STRANGER)], [("Origin", "null")]])
async def test_any_other_answer_says_nothing_but_that_it_varies(headers: list[tuple[str, str]]) -> None:
    answer, upstream = await ask("GET", *headers)

    assert (answer.status, upstream.calls) == (200, 1)
    assert not [name for name, _ in answer.headers if name.startswith(b"access-control-")]
    assert answer.all("vary") == ["Accept", "Origin"]


async def test_credentials_are_for_origins_that_are_named() -> None:
    answer, _ = await ask("GET", ("Origin", HORIZON), credentials=True)

    assert answer.header("access-control-allow-credentials") == "true"


async def test_a_page_can_read_why_it_was_refused() -> None:
    line = Cors(Authenticate(Upstream(), validator=StaticTokens([])), origins=[HORIZON])

    answer = await drive(line, "GET", "/", headers=[("Origin", HORIZON)])

    assert answer.status == 401
    assert answer.header("access-control-allow-origin") == HORIZON
