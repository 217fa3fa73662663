import asyncio
import time
from functools import partial
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import NoScriptError, ResponseError

from metaproxy.store.redis.connection import SharedStore
from metaproxy.store.redis.pipe import Pipe, packed
from metaproxy.store.unavailable import StoreUnavailable
from tests.ports import HeldPorts
from tests.redis_server import RedisServer
from tests.unit.store.waiting import until

pytestmark = pytest.mark.redis


async def test_replies_come_in_the_order_of_the_commands(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    use = store.use("test")
    replies = await asyncio.gather(*(use.ask("ECHO", str(number)) for number in range(500)))
    assert replies == [str(number).encode() for number in range(500)]
    await store.close()


async def test_the_connection_is_logged_in_and_uses_the_database_of_the_url() -> None:
    with RedisServer() as server:
        with server.client() as client:
            client.config_set("requirepass", "secret")
        store = SharedStore(f"redis://:secret@127.0.0.1:{server.port}/3", timeout_seconds=5)
        use = store.use("test")
        await use.ask("SET", "key", "value")
        assert b"db=3" in await use.ask("CLIENT", "INFO")
        await store.close()


async def test_a_command_that_is_given_up_leaves_the_others_their_replies(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    use = store.use("test")
    await use.ask("PING")
    asked = [asyncio.ensure_future(use.ask("ECHO", text)) for text in "abc"]
    await asyncio.sleep(0)
    asked[1].cancel()
    assert [await asked[0], await asked[2]] == [b"a", b"c"]
    assert asked[1].cancelled()
    await store.close()


async def test_a_frozen_store_costs_everybody_the_timeout_once(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.2)
    use = store.use("test")
    await use.ask("PING")
    redis_server.freeze()
    begun = time.monotonic()
    failed = await asyncio.gather(*(use.ask("PING") for _ in range(100)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert 0.2 <= time.monotonic() - begun < 10  # were they to wait one after the other, it would be 20
    with pytest.raises(StoreUnavailable):
        await use.ask("PING")
    redis_server.thaw()
    await store.close()


async def test_commands_that_follow_each_other_each_have_the_whole_timeout(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=3)
    use = store.use("test")
    for _ in range(2):
        await use.ask("EVAL", "local t = redis.call('TIME') "
                        "local u = t[1] * 1000000 + t[2] + 1600000 "
                        "repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > u", 0)  # fmt: skip
    assert store.available
    await store.close()


async def test_a_loop_that_stood_still_is_not_blamed_on_the_store(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=0.5)
    use = store.use("test")
    await use.ask("PING")
    asked = asyncio.ensure_future(use.ask("PING"))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(time.sleep, 0.75)
    assert await asked == b"PONG"
    assert store.available
    await store.close()


async def test_a_killed_store_is_asked_again_when_it_is_back(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    use = store.use("test")
    await use.ask("PING")
    again = partial(use.attempt_to_ask, "PING")
    asked = [
        asyncio.ensure_future(use.ask("BLPOP", f"nothing{number}", 0, again=again)) for number in range(5)
    ]
    await asyncio.sleep(0.01)
    redis_server.kill()
    failed = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    redis_server.start()
    await until(lambda: store.available)
    assert await use.ask("PING") == b"PONG"
    await store.close()


async def test_a_store_that_cannot_be_reached_fails_everybody_at_once() -> None:
    nobody = HeldPorts()
    store = SharedStore(f"redis://127.0.0.1:{nobody.first}/0", timeout_seconds=0.2)
    use = store.use("test")
    begun = time.monotonic()
    failed = await asyncio.gather(*(use.ask("PING") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    assert time.monotonic() - begun < 5  # were each to wait, it would be 10
    await store.close()


async def test_an_unknown_script_is_no_failure_of_the_store(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    use = store.use("test")
    with pytest.raises(NoScriptError):
        await use.ask("EVALSHA", "0" * 40, 0)
    assert store.available
    await store.close()


async def test_an_error_of_the_server_makes_its_use_unavailable_until_it_works(
    redis_server: RedisServer,
) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=1)
    use = store.use("test")
    with pytest.raises(StoreUnavailable):
        await use.ask("NOSUCHCOMMAND", again=partial(use.attempt_to_ask, "PING"))
    assert not store.available
    await until(lambda: store.available)
    assert await use.ask("PING") == b"PONG"
    await store.close()


async def test_closing_fails_who_still_waits(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, timeout_seconds=5)
    use = store.use("test")
    asked = asyncio.ensure_future(use.ask("BLPOP", "nothing", 0))
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await asked


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        """Do nothing: nothing is open."""


def wired(*, gather_seconds: float) -> tuple[Pipe, Wire]:
    pipe, wire = Pipe(timeout_seconds=30, monotonic=time.monotonic, gather_seconds=gather_seconds), Wire()
    pipe.connection_made(wire)
    return pipe, wire


async def test_commands_that_come_while_others_have_no_reply_are_sent_together() -> None:
    pipe, wire = wired(gather_seconds=30)
    first = [pipe.ask("PING"), pipe.ask("PING")]
    await until(lambda: bool(wire.written))
    later = []
    for text in "ab":
        later.append(pipe.ask("ECHO", text))
        await asyncio.sleep(0)
    pipe.data_received(b"+PONG\r\n")
    assert wire.written == [packed("PING") * 2]
    pipe.data_received(b"+PONG\r\n")
    assert wire.written[1:] == [packed("ECHO", "a") + packed("ECHO", "b")]
    pipe.data_received(b"$1\r\na\r\n$1\r\nb\r\n")
    assert await asyncio.gather(*first, *later) == [b"PONG", b"PONG", b"a", b"b"]
    pipe.close()


async def test_a_command_does_not_wait_long_for_the_replies_to_others() -> None:
    pipe, wire = wired(gather_seconds=0)
    asked = [pipe.ask("PING")]
    await until(lambda: bool(wire.written))
    asked.append(pipe.ask("ECHO", "a"))
    await until(lambda: wire.written == [packed("PING"), packed("ECHO", "a")])
    pipe.close()
    assert all(
        isinstance(error, ConnectionFailed) for error in await asyncio.gather(*asked, return_exceptions=True)
    )


async def test_an_error_comes_after_the_replies_that_came_with_it() -> None:
    pipe, _ = wired(gather_seconds=30)
    received: list[object] = []
    for _number in range(2):
        pipe.send(packed("PING"), received.append)
    pipe.data_received(b"-OOM no memory\r\n+PONG\r\n")
    await until(lambda: len(received) == 2)
    assert received[0] == b"PONG"
    assert isinstance(received[1], ResponseError)
    pipe.close()


async def test_a_reply_that_nothing_can_be_done_with_leaves_the_others_theirs() -> None:
    pipe, _ = wired(gather_seconds=30)
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    received: list[object] = []

    def fail(reply: object) -> None:
        raise RuntimeError("it means nothing")

    pipe.send(packed("PING"), fail)
    pipe.send(packed("PING"), received.append)
    pipe.data_received(b"+PONG\r\n+PONG\r\n")
    assert received == [b"PONG"]
    assert [str(each["exception"]) for each in failures] == ["it means nothing"]
    pipe.close()
