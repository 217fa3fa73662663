"""Readiness over five minutes of injected time: no entry without identity, no exit for a shared service."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from metaproxy.assembly.readiness import (
    Check,
    degraded,
    failing_requirement,
    identity_check,
    is_ready,
    upstream_check,
)
from metaproxy.forward.breaker import Breaker, BreakerPolicy
from metaproxy.forward.health import Health, HealthPolicy
from metaproxy.forward.target import Target
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.keystone_v2 import KeystoneV2
from metaproxy.identity.keystone_v3 import KeystoneV3
from tests.identities import KEYSTONE, LOGIN, NOW, FakeClock, described, issued

FIVE_MINUTES = 300.0

Answer = Callable[[httpx.Request], httpx.Response]


class Room:
    """A validator before a scripted Keystone. Sleeping moves the clock, and nothing else does."""

    def __init__(self, answer: Answer, *, with_login: bool = True) -> None:
        self.answer = answer
        self.clock, self.wall = FakeClock(), FakeClock(NOW)
        self.ticks = asyncio.Semaphore(0)
        self.slept = asyncio.Event()
        transport = httpx.MockTransport(lambda request: self.answer(request))
        clocks: dict[str, Any] = {"monotonic": self.clock, "wall": self.wall}
        inner: KeystoneV3 | KeystoneV2
        if with_login:
            inner = KeystoneV3(transport, KEYSTONE, login=LOGIN, **clocks)
        else:
            inner = KeystoneV2(transport, KEYSTONE, login=None, **clocks)
        self.validator = CachedValidator(inner, sleep=self.sleep, **clocks)

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await self.ticks.acquire()
        self.clock.now += seconds
        self.wall.now += seconds

    async def retry(self) -> None:
        """Let one probe happen, to its end."""
        await self.slept.wait()
        self.slept.clear()
        self.ticks.release()
        waiting = asyncio.ensure_future(self.slept.wait())
        while not waiting.done() and not self.validator.health.available:
            await asyncio.sleep(0)
        waiting.cancel()

    def check(self) -> Check:
        return identity_check(self.validator, grace=60.0)

    def ready(self) -> bool:
        return is_ready({"identity": self.check()})


def refuse_login(_: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json={"error": {"code": 401, "message": "The password is expired."}})


def unreachable(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no")


def slow(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("late")


def lets_in(request: httpx.Request) -> httpx.Response:
    if request.method == "POST":
        return issued(expires_at="2027-01-16T08:00:00Z")
    if request.headers.get("x-subject-token") == "alice":
        return httpx.Response(200, json=described())
    return httpx.Response(404, json={"error": {"code": 404}})


NEVER: dict[str, Answer] = {
    "wrong password": refuse_login,
    "no right to log in": lambda _: httpx.Response(403, json={}),
    "unreachable": unreachable,
    "slow": slow,
    "failed": lambda _: httpx.Response(500),
    "a page": lambda _: httpx.Response(200, text="<html>welcome</html>"),
    "garbage": lambda _: httpx.Response(201, content=b"\xff\x00"),
    "a redirect": lambda _: httpx.Response(302, headers={"location": "http://elsewhere/"}),
    "a token that has expired": lambda _: issued(expires_at="0001-01-01T00:00:00Z"),
    "a year of five digits": lambda _: issued(expires_at="99999-01-01T00:00:00Z"),
    "no token": lambda _: httpx.Response(201, json={"token": {"expires_at": "2027-01-16T08:00:00Z"}}),
}


@pytest.mark.parametrize("answer", NEVER.values(), ids=NEVER.keys())
async def test_a_process_that_identity_does_not_let_in_is_never_ready(answer: Answer) -> None:
    room = Room(answer)
    await room.validator.start()
    begun = room.clock.now

    while room.clock.now - begun < FIVE_MINUTES:
        assert not room.ready()
        await room.retry()

    says = room.check().says
    assert "has never accepted this process, for 300 s" in says
    assert "tokens known" not in says
    await room.validator.close()


async def test_the_reason_is_in_identitys_own_words_also_between_two_logins() -> None:
    room = Room(refuse_login)
    await room.validator.start()
    await room.retry()

    assert "login_refused: status 401: The password is expired." in room.check().says
    await room.validator.close()


async def test_a_login_that_succeeds_later_makes_the_process_ready() -> None:
    room = Room(unreachable)
    await room.validator.start()
    await room.retry()

    room.answer = lets_in
    await room.retry()

    assert room.ready()
    assert room.check().well
    await room.validator.close()


@pytest.mark.parametrize("answer", NEVER.values(), ids=NEVER.keys())
async def test_what_identity_has_let_in_once_stays_ready_and_is_degraded(answer: Answer) -> None:
    room = Room(lets_in)
    await room.validator.start()
    assert room.check() == Check(well=True, says="answers")

    room.answer = answer
    room.clock.now += 3600 * 24
    room.wall.now += 3600 * 24
    with pytest.raises(Exception, match=r".*"):
        await room.validator.validate(b"bob")
    begun = room.clock.now
    while room.clock.now - begun < FIVE_MINUTES:
        await room.retry()
        assert room.ready()
        assert degraded({"identity": room.check()}) == ["identity"]

    assert "no token is known here" in room.check().says
    await room.validator.close()


async def test_the_grace_is_named_if_there_are_tokens_that_it_helps() -> None:
    room = Room(lets_in)
    await room.validator.start()
    await room.validator.validate(b"alice")

    room.answer = unreachable
    with pytest.raises(Exception, match=r".*"):
        await room.validator.validate(b"bob")

    assert room.check().says.endswith("tokens known before are accepted for 60 s past their ttl")
    await room.validator.close()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_without_a_login_the_rejection_of_a_made_up_token_lets_the_process_in(status: int) -> None:
    room = Room(lambda _: httpx.Response(status, json={}), with_login=False)
    assert not room.ready()

    await room.validator.start()

    assert room.ready()
    await room.validator.close()


async def test_without_a_login_a_page_lets_no_process_in() -> None:
    room = Room(lambda _: httpx.Response(404, text="<html>"), with_login=False)

    await room.validator.start()

    assert not room.ready()
    await room.validator.close()


async def test_before_the_first_answer_a_process_is_not_ready() -> None:
    assert failing_requirement({"identity": Room(lets_in).check()}, "identity") == "has not answered yet"


def target() -> Target:
    policy = HealthPolicy(interval=5.0, unhealthy_after=3)
    breaker = Breaker(BreakerPolicy())
    return Target("http://a", breaker=breaker, health=Health(policy), monotonic=FakeClock())


def test_a_dead_upstream_never_makes_the_process_unready_and_is_degraded_from_the_first_check() -> None:
    dead = target()
    check = upstream_check([dead])
    assert check == Check(well=True, says="1 of 1 healthy")

    for second in range(0, 305, 5):
        dead.health.checked(float(second), healthy=False)
        check = upstream_check([dead])
        assert is_ready({"upstream": check})
        assert degraded({"upstream": check}) == ["upstream"]

    assert check.says == "0 of 1 healthy; failing: http://a"


def test_one_target_that_fails_is_named() -> None:
    dead, well = target(), target()
    dead.health.checked(0.0, healthy=False)

    assert upstream_check([dead, well]).says == "2 of 2 healthy; failing: http://a"
