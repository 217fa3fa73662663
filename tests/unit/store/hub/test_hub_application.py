"""Applications in the workers of one supervisor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from metaproxy.app import Application, create_app
from metaproxy.config import load_config
from metaproxy.store.hub.shared import HubStore
from tests.asgi_driver import drive
from tests.unit.admin.operated import Operated, told
from tests.unit.assembly.configured import BASE, STATIC, config
from tests.unit.store.hub.supervised import SECONDS, Supervisor
from tests.unit.store.waiting import until

LIMITS = (
    "limits: {endpoint: null, rates: [{name: all, per: [project], rate: 3/hour}], max_counters: %d, "
    "on_store_failure: deny}"
)
SECTIONS = (STATIC, LIMITS % 100)
PATH = "/v2.1/t1/images"
FIELDS = [("host", "api"), ("x-auth-token", "alice-token")]


async def answering(scope: object, receive: object, send: object) -> None:
    """Answer every request with 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]


def application(folder: Path, hub: HubStore, *sections: str) -> Application:
    return create_app(config(folder, *(sections or SECTIONS)), answering=answering, hub=hub)


async def status(application: Application) -> int:
    return (await drive(application, "GET", PATH, FIELDS)).status


@asynccontextmanager
async def supervised(count: int) -> AsyncIterator[tuple[Supervisor, list[HubStore]]]:
    supervisor = Supervisor()
    stores = [HubStore(supervisor.hub.connect()) for _ in range(count)]
    supervisor.serve()
    yield supervisor, stores
    for store in stores:
        await store.close()
    supervisor.close()


async def test_a_rate_holds_over_all_workers(tmp_path: Path) -> None:
    async with supervised(2) as (_, stores):
        workers = [application(tmp_path, store) for store in stores]
        for worker in workers:
            await worker.start()
        statuses = [await status(worker) for worker in workers * 3]
        for worker in workers:
            await worker.close()
    assert statuses == [204] * 3 + [413] * 3


async def test_a_concurrency_limit_holds_over_all_workers_if_it_is_shared(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(f"{BASE}{STATIC}limits: {{absolute: {{concurrent: {{max: 1, shared: true}}}}}}\n")
    two_workers = load_config(file, {}, {("server", "workers"): 2})
    begun, end = asyncio.Event(), asyncio.Event()

    async def waiting(scope: object, receive: object, send: object) -> None:
        begun.set()
        await end.wait()
        await answering(scope, receive, send)

    async with supervised(2) as (_, [one, two]):
        first = create_app(two_workers, answering=waiting, hub=one)
        second = create_app(two_workers, answering=answering, hub=two)
        for worker in (first, second):
            await worker.start()
        running = asyncio.ensure_future(status(first))
        await begun.wait()
        refused = await status(second)
        end.set()
        admitted = await running
        await until(lambda: first.shared_running is not None and not len(first.shared_running), SECONDS)
        for worker in (first, second):
            await worker.close()
    assert (refused, admitted) == (413, 204)


async def test_a_reload_keeps_the_counters_of_rules_that_it_leaves_as_they_are(tmp_path: Path) -> None:
    async with supervised(1) as (_, [store]):
        former = application(tmp_path, store)
        await former.start()
        before = [await status(former) for _ in range(2)]
        later = create_app(config(tmp_path, STATIC, LIMITS % 200), former, answering=answering)
        await later.start()
        await former.close()
        after = [await status(later) for _ in range(2)]
        await later.close()
    assert (before, after) == ([204, 204], [204, 413])


async def test_the_operator_sees_that_workers_share_and_that_the_supervisor_is_gone(tmp_path: Path) -> None:
    async with supervised(1) as (supervisor, [store]):
        service = Operated(tmp_path, *SECTIONS, hub=store)
        await service.application.start()
        before = told(await service.get("/status"))["store"]
        revoked = told(await service.post("/tokens/revoke", {"user_id": "u9"}))

        supervisor.close()
        await until(lambda: not store.client.available, SECONDS)

        after = told(await service.get("/status"))["store"]
        ready = told(await service.get("/readyz"))
        refused = await status(service.application)
        await service.application.close()
    assert (before, revoked["workers_told"]) == ({"shared": True, "available": True}, True)
    assert "replicas_told" not in revoked
    assert after == {"shared": True, "available": False}
    assert "the supervisor is away" in ready["checks"]["store"]["says"]
    assert "store" in ready["degraded"]
    assert refused == 503


async def test_a_store_that_is_configured_comes_before_the_supervisor(tmp_path: Path) -> None:
    async with supervised(1) as (_, [store]):
        shared = application(tmp_path, store, STATIC, "store: {url: unix:///nowhere}")
        alone = create_app(config(tmp_path, STATIC))
        sharers = [each.sharers for each in (shared, application(tmp_path, store), alone)]
    assert sharers == ["replicas", "workers", "process"]
