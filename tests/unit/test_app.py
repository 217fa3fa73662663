from pathlib import Path

import pytest

from metaproxy.app import Application, create_app
from tests.asgi_driver import drive, make_scope
from tests.unit.assembly.configured import STATIC, config

CACHE = "cache: {routes: [{path: '/v2.1/{tenant_id}/images/{image_id}/metadata/{key}'}]}"


def application(folder: Path, *sections: str, previous: Application | None = None) -> Application:
    return create_app(config(folder, STATIC, *sections), previous)


async def test_a_request_runs_through_every_stage(tmp_path: Path) -> None:
    app = application(tmp_path, CACHE)

    answer = await drive(
        app, "GET", "/v2.1/t1/images/i/metadata/k", headers=[("Host", "a"), ("X-Auth-Token", "alice-token")]
    )

    assert (answer.status, answer.exchange.reason) == (502, "upstream_refused")
    assert answer.header("via") == "1.1 metaproxy (metaproxy/0.1.0)"
    await app.close()


async def test_via_can_keep_the_version_to_itself(tmp_path: Path) -> None:
    app = application(tmp_path, "via: {pseudonym: edge, version: false}")

    answer = await drive(app, "GET", "/v2.1/t1/images", headers=[("Host", "a")])

    assert answer.header("via") == "1.1 edge"


async def test_a_server_may_start_and_close_it_over_lifespan(tmp_path: Path) -> None:
    app = application(tmp_path)
    script = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[str] = []

    async def receive() -> dict[str, str]:
        return script.pop(0)

    async def send(message: dict[str, str]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type] # narrower messages

    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_while_draining_it_is_not_ready(tmp_path: Path) -> None:
    app = application(tmp_path)
    before = app.readiness()["server"].well

    app.draining = True

    assert (before, app.readiness()["server"].well) == (True, False)
    assert app.readiness()["server"].says == "draining"


EDITED = "headers: {response: {remove: [X-Old], set: [{name: X-New, value: 'yes'}]}}"
ANY_PAGE = "cors: {origins: ['*']}"


@pytest.mark.parametrize("sections", [(), (CACHE,), (CACHE, EDITED, ANY_PAGE), (EDITED,)])
async def test_whatever_is_configured_a_refusal_is_answered_without_a_task(
    tmp_path: Path, sections: tuple[str, ...]
) -> None:
    lane = application(tmp_path, *sections).fast_lane()

    answer = lane.answer(make_scope("GET", "/v2.1/x", [("host", "a")]), keep_alive=True)

    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 401")
    assert (b"x-new: yes" in answer) == (EDITED in sections)


async def test_counts_go_on_in_the_application_that_takes_its_place(tmp_path: Path) -> None:
    old = application(tmp_path)
    await drive(old, "GET", "/v2.1/t1/images", headers=[("Host", "a")])

    new = application(tmp_path, "via: {version: false}", previous=old)
    await drive(new, "GET", "/v2.1/t1/images", headers=[("Host", "a")])

    assert sum(new.metrics.counter("metaproxy_requests", "").values.values()) == 2


async def test_closing_the_replaced_one_leaves_what_its_successor_uses(tmp_path: Path) -> None:
    old = application(tmp_path)
    await old.start()
    new = application(tmp_path, "via: {version: false}", previous=old)
    await new.start()

    await old.close()
    answer = await drive(new, "GET", "/v2.1/t1/x", headers=[("Host", "a"), ("X-Auth-Token", "alice-token")])

    assert answer.exchange.reason == "upstream_refused"
    await new.close()
