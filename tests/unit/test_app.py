import asyncio
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.app import Application, create_app
from tests.asgi_driver import drive, make_scope
from tests.redis_server import RedisServer
from tests.unit.assembly.configured import STATIC, config
from tests.unit.store.waiting import until

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


ITEM = "/v2.1/t1/images/i/metadata/k"
READS = "{name: reads, per: [project], rate: 2/day}"
OTHERS = "{name: others, path: /others, rate: 5/minute}"


async def statuses(app: Application, times: int, path: str = ITEM) -> list[int]:
    """Return the statuses of ``times`` requests of Alice; the upstream refuses connections."""
    fields = [("Host", "a"), ("X-Auth-Token", "alice-token")]
    return [(await drive(app, "GET", path, headers=fields)).status for _ in range(times)]


@pytest.mark.parametrize(
    "changed",
    [
        f"limits: {{rates: [{READS}, {OTHERS}]}}",
        f"limits: {{rates: [{OTHERS}, {READS}]}}",
        f"limits: {{rates: [{READS}], absolute: {{items_returned: 7}}}}",
        f"limits: {{rates: [{READS}], over_limit_status: 429, headers: false, endpoint: null}}",
        f"limits: {{rates: [{READS}], max_counters: 50}}",
        f"limits: {{rates: [{READS}], max_counters: 500000}}",
        f"limits: {{rates: [{READS}]}}\nvia: {{version: false}}",
    ],
)
async def test_a_reload_leaves_the_counters_of_a_rule_that_has_not_changed(
    tmp_path: Path, changed: str
) -> None:
    old = application(tmp_path, f"limits: {{rates: [{READS}]}}")
    assert await statuses(old, 3) == [502, 502, 413]

    new = application(tmp_path, changed, previous=old)
    new.take_over()

    assert (await statuses(new, 2))[0] in (413, 429)


@pytest.mark.parametrize(
    "changed",
    [
        READS.replace("2/day", "3/day"),
        READS.replace("2/day", "2/hour"),
        READS.replace("2/day", "2/day, burst: 1"),
        READS.replace("[project]", "[user]"),
        READS.replace("per", "methods: [GET], per"),
        READS.replace("per", "path: '/**', per"),
        READS.replace("name: reads", "name: writes"),
    ],
)
async def test_a_rule_that_a_reload_changes_gets_new_counters_and_the_others_keep_theirs(
    tmp_path: Path, changed: str
) -> None:
    other = "{name: other, path: /other, per: [project], rate: 1/day}"
    old = application(tmp_path, f"limits: {{rates: [{READS}, {other}]}}")
    assert await statuses(old, 3) == [502, 502, 413]
    assert await statuses(application(tmp_path, previous=old), 1, "/other") == [502]

    new = application(tmp_path, f"limits: {{rates: [{changed}, {other}]}}", previous=old)
    new.take_over()

    assert await statuses(new, 1) == [502]


async def test_a_rule_that_comes_back_finds_its_counters(tmp_path: Path) -> None:
    first = application(tmp_path, f"limits: {{rates: [{READS}]}}")
    assert await statuses(first, 3) == [502, 502, 413]

    without = application(tmp_path, previous=first)
    again = application(tmp_path, f"limits: {{rates: [{READS}]}}", previous=without)

    assert await statuses(again, 1) == [413]


@pytest.mark.parametrize(
    "changed",
    ["via: {version: false}", f"limits: {{absolute: {{concurrent: {{max: 1}}}}, rates: [{READS}]}}"],
)
async def test_requests_that_run_count_in_the_application_that_takes_its_place(
    tmp_path: Path, changed: str
) -> None:
    one_at_once = "limits: {absolute: {concurrent: {max: 1}}}"
    sections = (changed,) if "limits" in changed else (one_at_once, changed)
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def made(*said: str, previous: Application | None = None) -> Application:
        return create_app(config(tmp_path, STATIC, *said), previous, answering=slow)

    old = made(one_at_once)
    running = asyncio.ensure_future(statuses(old, 1))
    await asyncio.sleep(0)
    new = made(*sections, previous=old)
    new.take_over()

    assert await statuses(new, 1) == [413]
    go.set()
    assert await running == [200]
    assert await statuses(new, 1) == [200]


SHARED = "limits: {{absolute: {{concurrent: {{max: {}, shared: true}}}}}}"


@pytest.mark.redis
@pytest.mark.parametrize(
    ("changed", "then"),
    [
        (SHARED.format(2), [200, 413]),
        (SHARED.format(1), [413, 413]),
        ("via: {version: false}", [200, 200]),
        ("limits: {absolute: {concurrent: {max: 2}}}", [200, 413]),
    ],
)
async def test_a_reload_that_changes_or_removes_a_shared_limit_leaves_the_slots_of_what_runs(
    tmp_path: Path, changed: str, then: list[int]
) -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with RedisServer() as redis, redis.client() as client:
        store = f"store: {{url: '{redis.url}', timeout: 20s}}"

        def slots() -> int:
            return int(client.zcard("metaproxy:running:project:t1"))

        def made(said: str, previous: Application | None = None) -> Application:
            return create_app(config(tmp_path, STATIC, store, said), previous, answering=slow)

        old = made(SHARED.format(1))
        await old.start()
        running = asyncio.ensure_future(statuses(old, 1))
        await until(lambda: slots() == 1, 20)
        new = made(changed, old)
        await new.start()
        new.take_over()

        more = [asyncio.ensure_future(statuses(new, 1)) for _ in range(2)]
        await until(lambda: sum(task.done() for task in more) == then.count(413), 20)
        assert slots() == 1 + (then.count(200) if "shared" in changed else 0)
        go.set()
        assert await running == [200]
        assert sorted([await task for task in more]) == [[status] for status in then]
        await until(lambda: slots() == 0, 20)
        await old.close()
        await new.close()
