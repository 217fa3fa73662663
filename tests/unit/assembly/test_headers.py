"""The sections headers and cors, on the whole line."""

from pathlib import Path

from metaproxy.app import create_app
from metaproxy.config import effective
from metaproxy.filters.cors import Cors
from metaproxy.filters.edit_headers import EditHeaders
from metaproxy.line import Line
from tests.asgi_driver import drive
from tests.filters.limiting import Upstream
from tests.unit.assembly.configured import STATIC, config

CORS = "cors: {origins: ['https://horizon.example'], credentials: true, max_age: 1m}"
HEADERS = """
headers:
  request: {remove: [Cookie], set: [{name: X-Edge, value: swordfish}], add: [{name: X-Via-Edge, value: "1"}]}
  response: {remove: [Server], set: [{name: X-Frame-Options, value: DENY}], add: [{name: Link, value: <a>}]}
"""
ORIGIN = ("Origin", "https://horizon.example")


async def test_what_is_written_is_what_is_done(tmp_path: Path) -> None:
    upstream = Upstream()

    edits = EditHeaders(settings=config(tmp_path, STATIC, HEADERS).headers)

    answer = await drive(Line([("headers", edits)], upstream), "GET", "/", [("Cookie", "a")])

    assert upstream.scopes[0]["headers"] == [(b"x-edge", b"swordfish"), (b"x-via-edge", b"1")]
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("link") == "<a>"


async def test_pages_of_a_named_origin_may_ask(tmp_path: Path) -> None:
    stage = Cors(Upstream(), config(tmp_path, STATIC, CORS).cors)

    answer = await drive(stage, "OPTIONS", "/", [ORIGIN, ("Access-Control-Request-Method", "GET")])

    assert answer.header("access-control-allow-credentials") == "true"
    assert answer.header("access-control-max-age") == "60"


async def test_a_preflight_needs_no_token_and_is_edited_like_every_answer(tmp_path: Path) -> None:
    app = create_app(config(tmp_path, STATIC, CORS, HEADERS))

    answer = await drive(
        app,
        "OPTIONS",
        "/v2.1/t1/images/i/metadata/k",
        headers=[("Host", "a"), ORIGIN, ("Access-Control-Request-Method", "PUT")],
    )

    assert (answer.status, answer.header("x-frame-options")) == (204, "DENY")
    assert answer.header("via") == "1.1 metaproxy (metaproxy/0.1.0)"
    assert len(answer.all("x-compute-request-id")) == 1


async def test_an_ambiguous_preflight_is_refused_first(tmp_path: Path) -> None:
    app = create_app(config(tmp_path, STATIC, CORS))

    answer = await drive(
        app, "OPTIONS", "/a/../b", headers=[("Host", "a"), ORIGIN, ("Access-Control-Request-Method", "PUT")]
    )

    assert (answer.status, answer.exchange.reason) == (400, "path_ambiguous")


async def test_a_page_can_read_that_its_token_is_not_valid(tmp_path: Path) -> None:
    app = create_app(config(tmp_path, STATIC, CORS))

    answer = await drive(app, "GET", "/v2.1/t1/images", headers=[("Host", "a"), ORIGIN])

    assert (answer.status, answer.header("access-control-allow-origin")) == (401, "https://horizon.example")


def test_a_value_for_the_upstream_is_not_shown(tmp_path: Path) -> None:
    said = config(tmp_path, STATIC, HEADERS)

    assert "swordfish" not in repr(said) + str(effective(said))
