from pathlib import Path

import pytest

from tests.asgi_driver import drive
from tests.unit.admin.operated import JSON, Operated
from tests.unit.assembly.configured import STATIC

PURGE = {"all": True}


@pytest.mark.parametrize("host", ["127.0.0.1:9774", "localhost:8080", "LOCALHOST", "[::1]:9774", "192.0.2.7"])
async def test_an_address_or_localhost_is_our_host(tmp_path: Path, host: str) -> None:
    assert (await drive(Operated(tmp_path).admin, "GET", "/status", [("host", host)])).status == 200


@pytest.mark.parametrize("host", ["rebound.example", "localhost.evil.example:9774", "", "[", "a b"])
async def test_a_name_that_was_made_to_point_here_is_refused(tmp_path: Path, host: str) -> None:
    assert (await drive(Operated(tmp_path).admin, "GET", "/status", [("host", host)])).status == 421


async def test_a_name_that_we_listen_on_is_our_host(tmp_path: Path) -> None:
    named = Operated(tmp_path, STATIC, "admin: {listen: localhost:9774}")

    assert (await drive(named.admin, "GET", "/status", [("host", "localhost:9774")])).status == 200


async def test_any_host_is_right_where_a_token_is_needed(tmp_path: Path) -> None:
    exposed = Operated(tmp_path, STATIC, "admin: {listen: 0.0.0.0:9774, token: secret}")
    fields = [("host", "metaproxy.svc:9774"), ("authorization", "Bearer secret")]

    assert (await drive(exposed.admin, "GET", "/status", fields)).status == 200


async def test_any_host_is_right_on_a_unix_socket(tmp_path: Path) -> None:
    answer = await drive(
        Operated(tmp_path).admin,
        "GET",
        "/status",
        [("host", "anything")],
        scope_extra={"server": ("/run/admin.sock", None)},
    )

    assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "http://127.0.0.1:8000"),
        ("origin", "null"),
    ],
)
async def test_what_another_web_page_wants_changed_is_refused(tmp_path: Path, sent: tuple[str, str]) -> None:
    operated = Operated(tmp_path)

    assert (await operated.post("/reload", {}, sent)).status == 403
    assert operated.state.generation == 1


async def test_our_own_page_may_change_something(tmp_path: Path) -> None:
    own = [("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9774")]

    assert (await Operated(tmp_path).post("/reload", {}, *own)).status == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_a_form_can_send_changes_nothing(tmp_path: Path, media_type: str) -> None:
    operated = Operated(tmp_path)
    fields = [("host", "127.0.0.1"), ("content-type", media_type)]

    assert (await drive(operated.admin, "POST", "/reload", fields, [b"{}"])).status == 415


@pytest.mark.parametrize("path", ["/", "/status", "/nothing", "/page/main.js"])
async def test_every_answer_tells_browsers_how_little_they_may_do(tmp_path: Path, path: str) -> None:
    answer = await Operated(tmp_path).get(path)

    policy = answer.header("content-security-policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"


async def test_nobody_is_told_that_other_origins_may_read(tmp_path: Path) -> None:
    answer = await Operated(tmp_path).get("/status", ("origin", "http://evil.example"), JSON)

    assert answer.header("access-control-allow-origin") is None
