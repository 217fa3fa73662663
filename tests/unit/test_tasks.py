import asyncio

from structlog.testing import capture_logs

from metaproxy.tasks import TaskSet


async def test_a_task_is_held_until_it_ends() -> None:
    tasks, gate = TaskSet(), asyncio.Event()

    task = tasks.start(gate.wait(), name="waiter")
    held = len(tasks)
    gate.set()
    await task
    await asyncio.sleep(0)

    assert (held, len(tasks)) == (1, 0)


async def test_a_task_that_fails_is_told_in_the_log() -> None:
    tasks = TaskSet()

    async def fail() -> None:
        raise RuntimeError("broken")

    with capture_logs() as logs:
        await asyncio.wait([tasks.start(fail(), name="failing")])
        await asyncio.sleep(0)

    assert [(entry["event"], entry["task"]) for entry in logs] == [("background task failed", "failing")]


async def test_cancel_ends_all_and_waits_for_them() -> None:
    tasks, ended = TaskSet(), []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    for _ in range(3):
        tasks.start(wait(), name="waiter")
    await asyncio.sleep(0)
    await tasks.cancel()

    assert len(ended) == 3


async def test_a_task_that_is_cancelled_at_once_gives_back_what_it_was_given() -> None:
    tasks, given_back = TaskSet(), []

    async def use(what: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_back.append(what)

    tasks.start(use("connection"), name="user")
    await tasks.cancel()

    assert given_back == ["connection"]


async def test_join_waits_for_tasks_to_end_by_themselves() -> None:
    tasks, ended = TaskSet(), []

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append("work")

    tasks.start(work(), name="work")
    await tasks.join()

    assert ended == ["work"]
