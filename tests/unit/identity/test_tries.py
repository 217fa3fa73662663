"""A connection to identity that is refused or breaks is tried again; several URLs are asked in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import respx

from metaproxy.forward.transport import UpstreamTransport
from metaproxy.identity.keystone_v3 import KeystoneV3
from metaproxy.identity.tries import Tries
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from tests.identities import IN_AN_HOUR, KEYSTONE, LOGIN, NOW, FakeClock, described, keystone
from tests.unit.identity.served import a_keystone, bound, serving, url_of

REFUSED, RESET, SLOW = httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.ReadTimeout("slow")
Outcome = int | Exception


class Service:
    """A service whose URLs answer as they are told, one outcome after another; the last one goes on."""

    def __init__(self, *urls: list[Outcome], timeout: float = 5.0) -> None:
        self.outcomes = {f"u{number}": outcomes for number, outcomes in enumerate(urls)}
        self.asked: list[str] = []
        self.paused: list[float] = []
        self.tries: Tries[int] = Tries(
            list(self.outcomes), timeout=timeout, has_failed=lambda answer: answer >= 500, sleep=self.sleep
        )

    async def sleep(self, seconds: float) -> None:
        self.paused.append(seconds)

    async def ask(self, url: str) -> int:
        self.asked.append(url)
        outcomes = self.outcomes[url]
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def call(self) -> int:
        self.asked.clear()
        self.paused.clear()
        return await self.tries.call(self.ask)


@pytest.mark.parametrize("error", [REFUSED, RESET, httpx.RemoteProtocolError("cut"), ConnectionResetError()])
async def test_a_connection_that_is_refused_or_breaks_is_tried_again(error: Exception) -> None:
    service = Service([error, error, 200])

    assert await service.call() == 200
    assert len(service.asked) == 3
    assert service.paused == [0.05, 0.1]


@pytest.mark.parametrize("error", [SLOW, httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")])
async def test_one_that_is_slow_is_not(error: Exception) -> None:
    service = Service([error, 200])

    with pytest.raises(type(error)):
        await service.call()
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [200, 404, 401, 429, 500, 503])
async def test_an_answer_is_not_asked_for_again(status: int) -> None:
    service = Service([status])

    assert await service.call() == status
    assert service.asked == ["u0"]


async def test_tries_end_before_the_timeout_with_what_failed() -> None:
    service = Service([200, REFUSED], timeout=5.0)
    await service.call()

    with pytest.raises(httpx.ConnectError):
        await service.call()

    assert 2.5 < sum(service.paused) <= 5.0


async def test_a_service_that_did_not_answer_before_is_tried_for_a_moment() -> None:
    service = Service([REFUSED], timeout=30.0)

    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            await service.call()
        assert 0.4 < sum(service.paused) <= 1.0


async def test_what_failed_is_told_where_the_time_is_over_between_two_tries() -> None:
    tries: Tries[int] = Tries(
        ["u"], timeout=0.01, has_failed=lambda _: False, sleep=lambda _: asyncio.sleep(60)
    )

    async def ask(_: str) -> int:
        raise httpx.ConnectError("refused") from OSError(111, "Connection refused")

    with pytest.raises(httpx.ConnectError) as error:
        await tries.call(ask)
    assert isinstance(error.value.__cause__, OSError)


async def test_an_answer_that_never_comes_is_a_timeout() -> None:
    tries: Tries[int] = Tries(["u"], timeout=0.01, has_failed=lambda _: False)

    with pytest.raises(TimeoutError):
        await tries.call(lambda _: asyncio.sleep(60, 200))


@pytest.mark.parametrize("outcome", [REFUSED, RESET, SLOW, 500, 503])
async def test_the_next_url_is_asked_at_once_and_stays_the_first(outcome: Outcome) -> None:
    service = Service([outcome], [200])

    assert await service.call() == 200
    assert (service.asked, service.paused) == (["u0", "u1"], [])
    assert await service.call() == 200
    assert service.asked == ["u1"]


async def test_the_first_is_asked_again_once_the_second_fails() -> None:
    service = Service([REFUSED, 200], [200, REFUSED])
    await service.call()

    assert await service.call() == 200
    assert service.asked == ["u1", "u0"]


async def test_every_url_is_asked_in_every_round() -> None:
    service = Service([REFUSED], [REFUSED, REFUSED, 200], [REFUSED])

    assert await service.call() == 200
    assert {"u0", "u1", "u2"} == set(service.asked)


async def test_what_the_last_one_says_counts_where_all_fail() -> None:
    assert await Service([REFUSED], [503]).call() == 503
    assert await Service([500], [502]).call() == 502


@pytest.mark.parametrize("status", [401, 404, 429])
async def test_a_verdict_is_not_asked_for_elsewhere(status: int) -> None:
    service = Service([status], [200])

    assert await service.call() == status
    assert service.asked == ["u0"]


async def test_a_url_that_never_answers_leaves_time_for_the_next() -> None:
    tries: Tries[int] = Tries(["hung", "well"], timeout=0.2, has_failed=lambda _: False)
    asked: list[str] = []

    async def ask(url: str) -> int:
        asked.append(url)
        return await asyncio.sleep(60 if url == "hung" else 0, 200)

    assert await tries.call(ask) == 200
    assert await tries.call(ask) == 200
    assert asked == ["hung", "well", "well"]


async def test_a_client_that_leaves_ends_the_tries() -> None:
    service = Service([REFUSED])
    service.sleep = lambda _: asyncio.sleep(60)  # type: ignore[method-assign, assignment]
    tries: Tries[int] = Tries(["u0"], timeout=30, has_failed=lambda _: False, sleep=service.sleep)
    task = asyncio.create_task(tries.call(service.ask))
    while not service.asked:
        await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


# Over real sockets.


@asynccontextmanager
async def asking(*urls: str) -> AsyncIterator[KeystoneV3]:
    validator = KeystoneV3(UpstreamTransport(name="identity"), urls, login=LOGIN, wall=FakeClock(NOW))
    yield validator
    await validator.close()


async def test_a_keystone_that_restarts_is_waited_for() -> None:
    held = bound()
    async with AsyncExitStack() as running, asking(url_of(held)) as validator:
        validation = asyncio.create_task(validator.validate(b"t"))
        await asyncio.sleep(0.1)  # the first tries are refused meanwhile

        await running.enter_async_context(serving(a_keystone(), held))

        assert (await validation).user_id == "u1"


async def test_a_keystone_whose_connection_breaks_before_its_answer_is_asked_again() -> None:
    broken = 0

    async def breaks_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        broken += 1
        if broken > 2:
            await a_keystone()(reader, writer)
        else:
            await reader.read(10)

    held = bound()
    async with serving(breaks_twice, held), asking(url_of(held)) as validator:
        assert (await validator.validate(b"t")).user_id == "u1"


async def test_the_second_url_answers_where_the_first_refuses() -> None:
    held, other = bound(), bound()

    async with serving(a_keystone(), other), asking(url_of(held), url_of(other)) as validator:
        assert (await validator.validate(b"t")).user_id == "u1"
    held.close()


# The endpoint of the catalog.


def catalog(*endpoints: tuple[str, str, str]) -> list[dict[str, Any]]:
    told = [{"interface": interface, "region": region, "url": url} for interface, region, url in endpoints]
    return [{"type": "compute", "endpoints": told}, {"type": "identity", "endpoints": [*told[::-1], None]}]


def logged_in(found: Any) -> httpx.Response:
    return httpx.Response(
        201,
        headers={"X-Subject-Token": "service-token"},
        json={"token": {"expires_at": IN_AN_HOUR, "catalog": found}},
    )


@pytest.mark.parametrize(
    ("interface", "region", "expected"),
    [
        ("internal", "R1", "http://internal-1.test/v3/auth/tokens"),
        ("internal", "R2", "http://internal-2.test/v3/auth/tokens"),
        ("public", None, "http://public.test/identity/v3/auth/tokens"),
        ("admin", "R1", "http://admin.test:35357/v3/auth/tokens"),
    ],
)
async def test_tokens_are_asked_about_at_the_endpoint_of_interface_and_region(
    interface: str, region: str | None, expected: str
) -> None:
    routes = respx.MockRouter(assert_all_called=False)
    login = routes.post(f"{KEYSTONE}/auth/tokens").mock(
        return_value=logged_in(
            catalog(
                ("internal", "R1", "http://internal-1.test"),
                ("internal", "R2", "http://internal-2.test/v3/"),
                ("public", "R1", "http://public.test/identity"),
                ("admin", "R1", "http://admin.test:35357/v2.0"),
            )
        )
    )
    route = routes.get(expected).respond(json=described())
    validator = keystone(routes, interface=interface, region=region)

    assert (await validator.validate(b"t")).user_id == "u1"
    assert route.called
    assert b"nocatalog" not in login.calls.last.request.url.query


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        catalog(("public", "R1", "http://public.test")),
        catalog(("internal", "R9", "http://internal-9.test")),
        catalog(("internal", "R1", "")),
        catalog(("internal", "R1", "file:///etc/passwd")),
        catalog(("internal", "R1", "http://[")),
        [{"type": "identity", "endpoints": None}],
        "nothing",
    ],
    ids=repr,
)
async def test_a_catalog_without_that_endpoint_is_trouble_that_is_told(found: Any) -> None:
    routes = respx.MockRouter(assert_all_called=False)
    routes.post(f"{KEYSTONE}/auth/tokens").mock(return_value=logged_in(found))

    with pytest.raises(IdentityUnavailable) as error:
        await keystone(routes, interface="internal", region="R1").start()

    assert error.value.trouble is Trouble.NONSENSE


async def test_a_catalog_does_not_lead_tokens_out_of_tls() -> None:
    routes = respx.MockRouter(assert_all_called=False)
    routes.post("https://keystone.test/v3/auth/tokens").mock(
        return_value=logged_in(catalog(("internal", "R1", "http://internal.test")))
    )
    validator = KeystoneV3(
        httpx.MockTransport(routes.async_handler),
        "https://keystone.test",
        login=LOGIN,
        interface="internal",
        wall=FakeClock(NOW),
    )

    with pytest.raises(IdentityUnavailable, match="not https"):
        await validator.start()
