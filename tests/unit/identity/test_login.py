"""The token under which the proxy itself speaks to identity."""

import asyncio

import httpx
import pytest

from metaproxy.identity.login import LONGEST_PAUSE, REFUSAL_PAUSE, RENEW_BEFORE, ServiceLogin, ServiceToken
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.wire import IdentityWire
from tests.identities import FakeClock


class Room:
    """A login whose tokens live an hour, and what it was told."""

    def __init__(self, *statuses: int) -> None:
        self.monotonic = FakeClock()
        self.logins = 0
        self.error: IdentityUnavailable | None = None
        self.asked_under: list[str] = []
        self.statuses = list(statuses)
        wire = IdentityWire(httpx.MockTransport(self.answer), "http://identity.test")
        self.login = ServiceLogin(wire, self.log_in, monotonic=self.monotonic)

    async def log_in(self) -> ServiceToken:
        self.logins += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return ServiceToken(b"service-%d" % self.logins, 3600.0)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked_under.append(request.headers["x-auth-token"])
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)


async def test_a_token_is_fetched_once_however_many_ask() -> None:
    room = Room()

    tokens = await asyncio.gather(*(room.login.token() for _ in range(10)))

    assert set(tokens) == {b"service-1"}
    assert room.logins == 1


async def test_a_token_is_renewed_in_the_background_before_it_expires() -> None:
    room = Room()
    await room.login.token()

    room.monotonic.now += 3600 - RENEW_BEFORE
    assert await room.login.token() == b"service-1"
    while room.logins < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert await room.login.token() == b"service-2"
    await room.login.close()


async def test_a_renewal_that_fails_leaves_the_token_at_hand() -> None:
    room = Room()
    await room.login.token()
    room.error = IdentityUnavailable(Trouble.UNREACHABLE)

    room.monotonic.now += 3600 - RENEW_BEFORE
    for _ in range(5):
        assert await room.login.token() == b"service-1"
        await asyncio.sleep(0)

    assert room.logins == 2
    await room.login.close()


async def test_an_expired_token_is_replaced_before_it_is_used() -> None:
    room = Room()
    await room.login.token()

    room.monotonic.now += 3600

    assert await room.login.token() == b"service-2"


async def test_a_dead_token_is_renewed_once_for_all_who_met_it() -> None:
    room = Room(401, 401, 401)

    answers = await asyncio.gather(*(room.login.get("/x") for _ in range(3)))

    assert [answered.status for answered in answers] == [200, 200, 200]
    assert room.logins == 2
    assert room.asked_under == ["service-1"] * 3 + ["service-2"] * 3


async def test_a_refused_login_is_not_tried_again_for_a_while_and_then_less_and_less_often() -> None:
    room = Room()
    room.error = IdentityUnavailable(Trouble.LOGIN_REFUSED)

    async def refused() -> None:
        with pytest.raises(IdentityUnavailable) as error:
            await room.login.token()
        assert error.value.trouble is Trouble.LOGIN_REFUSED

    for pause in (REFUSAL_PAUSE, 2 * REFUSAL_PAUSE, 4 * REFUSAL_PAUSE):
        await refused()
        logins = room.logins
        room.monotonic.now += pause - 0.1
        await refused()
        assert room.logins == logins
        room.monotonic.now += 0.1
    room.error = None
    room.monotonic.now += LONGEST_PAUSE
    assert await room.login.token()


async def test_a_login_that_fails_otherwise_is_tried_with_the_next_request() -> None:
    room = Room()
    room.error = IdentityUnavailable(Trouble.TIMEOUT)
    with pytest.raises(IdentityUnavailable):
        await room.login.token()

    room.error = None

    assert await room.login.token() == b"service-2"


async def test_a_service_that_refuses_its_own_new_tokens_is_not_hammered() -> None:
    room = Room(401, 401, 401)
    with pytest.raises(IdentityUnavailable):
        await room.login.get("/x")

    with pytest.raises(IdentityUnavailable):
        await room.login.get("/x")

    assert room.logins == 2


def test_a_service_token_is_not_shown() -> None:
    assert "secret" not in repr(ServiceToken(b"secret", 1.0))
