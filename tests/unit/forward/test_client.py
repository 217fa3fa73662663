import asyncio

import pytest

from metaproxy.exchange import ClientDisconnected
from metaproxy.forward.client import NO_BODY, Client
from metaproxy.tasks import TaskSet
from tests.asgi_driver import DISCONNECT, Message, request_messages


class Script:
    """A ``receive`` that gives one message after another, and then waits for ever."""

    def __init__(self, *messages: Message) -> None:
        self.left = list(messages)
        self.go_on = asyncio.Event()

    async def __call__(self) -> Message:
        if not self.left:
            await asyncio.Event().wait()
        if self.left[0] is DISCONNECT:
            await self.go_on.wait()
        return self.left.pop(0)


def client(script: Script, *, has_body: bool) -> Client:
    return Client(script, has_body=has_body, tasks=TaskSet())


async def test_a_body_is_read_chunk_by_chunk() -> None:
    script = Script(*request_messages([b"one", b"two"]))

    with client(script, has_body=True) as reading:
        assert [chunk async for chunk in reading.body] == [b"one", b"two"]


async def test_a_request_without_body_has_none() -> None:
    with client(Script(), has_body=False) as reading:
        assert reading.body is NO_BODY


async def test_a_client_that_hangs_up_inside_its_body() -> None:
    script = Script({"type": "http.request", "body": b"one", "more_body": True}, DISCONNECT)
    script.go_on.set()

    with pytest.raises(ClientDisconnected), client(script, has_body=True) as reading:
        async for _ in reading.body:
            pass


@pytest.mark.parametrize("has_body", [False, True])
async def test_a_client_that_hangs_up_while_its_answer_is_awaited(has_body: bool) -> None:
    script = Script(*request_messages([b"one"]), DISCONNECT)

    async def handle() -> None:
        with client(script, has_body=has_body) as reading:
            async for _ in reading.body:
                pass
            script.go_on.set()
            await asyncio.Event().wait()

    with pytest.raises(ClientDisconnected):
        await handle()


async def test_a_client_that_hangs_up_after_its_upload_was_stopped() -> None:
    script = Script(*request_messages([b"one", b"two"]), DISCONNECT)
    script.go_on.set()

    async def handle() -> None:
        with client(script, has_body=True) as reading:
            reading.watch()
            await asyncio.Event().wait()

    with pytest.raises(ClientDisconnected):
        await handle()


async def test_a_request_that_is_cancelled_from_outside_stays_cancelled() -> None:
    async def handle() -> None:
        with client(Script(), has_body=False):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(handle())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_watch_ends_with_the_request() -> None:
    watched, ended = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        watched.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    with Client(receive, has_body=False, tasks=TaskSet()):
        await watched.wait()
    await ended.wait()


async def test_a_request_that_ends_soon_is_not_watched() -> None:
    tasks = TaskSet()

    with Client(Script(), has_body=False, tasks=tasks):
        await asyncio.sleep(0)
        assert len(tasks) == 0


async def test_a_limit_on_the_rest_of_a_stopped_upload_changes_nothing() -> None:
    tasks = TaskSet()
    raised = asyncio.Event()

    async def receive() -> Message:
        raised.set()
        raise OverflowError

    with Client(receive, has_body=True, tasks=tasks) as reading:
        reading.watch()
        await raised.wait()
        while len(tasks):
            await asyncio.sleep(0)
