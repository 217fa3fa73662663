"""Questions about tokens that were never valid: charged to their address, and asked in turn."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from metaproxy.exchange import Identity
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.guesses import Guesses, GuessesExceeded
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.validator import Reason, Rejected, TokenRejected, TokenValidator, Verdict
from metaproxy.settings.units import Rate
from metaproxy.store.guesses import GuessesByAddress
from metaproxy.store.memory import MemoryCounters
from metaproxy.telemetry.metrics import Metrics
from tests.filters.limiting import FakeClock

GUESSER, OTHER = "192.0.2.1", "192.0.2.2"


class Identities(TokenValidator):
    """Knows the tokens that begin with ``known``; answers when it is open."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.known = b"good"
        self.reason: Reason = "token_unknown"

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        self.asked.append(token)
        await self.open.wait()
        if self.away:
            raise IdentityUnavailable(Trouble.UNREACHABLE)
        if not token.startswith(self.known):
            raise TokenRejected(self.reason)
        return Identity(user_id="u1", project_id="p1")


class Line:
    """A token cache whose guesses are held to ``limit`` a day for each address."""

    def __init__(
        self, limit: int | None = 5, *, at_once: int = 3, places: int = 6, patience: float = 60.0
    ) -> None:
        self.clock = FakeClock()
        self.identity = Identities()
        counter = None
        if limit is not None:
            counters = MemoryCounters(monotonic=self.clock)
            counter = GuessesByAddress(Rate(limit, "day"), local=counters, shared=None)
        self.guesses = Guesses(counter, at_once=at_once, places=places, patience=patience)
        self.tokens = CachedValidator(
            self.identity, guesses=self.guesses, jitter=0, monotonic=self.clock, wall=self.clock
        )

    async def ask(self, token: str, address: str = GUESSER) -> Verdict | int:
        """Return the verdict, or the seconds after which the address may try again."""
        try:
            return await self.tokens.resolve(token.encode(), address=address)
        except GuessesExceeded as error:
            return error.retry_after

    def begin(self, token: str, address: str = GUESSER) -> "asyncio.Task[Verdict | int]":
        return asyncio.ensure_future(self.ask(token, address))

    async def many(self, number: int, address: str = GUESSER) -> Counter[str]:
        """Try so many made-up tokens at once; count what came of it."""
        answers = await asyncio.gather(*[self.ask(f"made-up-{n}", address) for n in range(number)])
        return Counter(type(answer).__name__ for answer in answers)


async def settle() -> None:
    """Let every task run until it waits for something from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_identity_is_asked_about_no_more_made_up_tokens_than_the_limit() -> None:
    line = Line(5)
    assert await line.many(200) == {"Rejected": 5, "int": 195}
    assert len(line.identity.asked) == 5


async def test_tokens_that_come_one_after_the_other_are_held_to_the_same_limit() -> None:
    line = Line(5)
    answers = [await line.ask(f"made-up-{number}") for number in range(7)]
    assert answers[:5] == [Rejected("token_unknown")] * 5
    assert answers[5:] == [17280, 17280]


async def test_a_rejection_that_is_remembered_is_no_guess() -> None:
    line = Line(1)
    assert [await line.ask("made-up") for _ in range(3)] == [Rejected("token_unknown")] * 3
    assert isinstance(await line.ask("another"), int)


async def test_valid_tokens_cost_an_address_nothing() -> None:
    line = Line(2)
    answers = [await line.ask(f"good-{number}") for number in range(20)]
    assert all(isinstance(answer, Identity) for answer in answers)
    assert isinstance(await line.ask("made-up"), Rejected)


async def test_valid_tokens_that_come_at_once_are_all_let_in_whatever_the_limit() -> None:
    line = Line(2)
    answers = await asyncio.gather(*[line.ask(f"good-{number}") for number in range(50)])
    assert all(isinstance(answer, Identity) for answer in answers)


async def test_an_address_that_has_used_up_its_guesses_keeps_the_tokens_that_are_known() -> None:
    line = Line(2)
    await line.ask("good-1")
    await line.many(10)
    assert isinstance(await line.ask("good-1"), Identity)
    assert isinstance(await line.ask("good-2"), int)


@pytest.mark.parametrize("seconds", [301, 4000])
async def test_a_token_that_was_valid_before_is_asked_about_again_whatever_its_address_has_tried(
    seconds: int,
) -> None:
    line = Line(2)
    await line.ask("good-1")
    await line.many(10)
    line.clock.advance(seconds)
    assert isinstance(await line.ask("good-1"), Identity)


async def test_a_token_that_was_valid_before_waits_for_no_guess_of_its_address() -> None:
    line = Line(100)
    await line.ask("good-1")
    line.clock.advance(4000)
    line.identity.open.clear()
    guesses = [line.begin(f"made-up-{number}") for number in range(50)]
    await settle()
    known = line.begin("good-1")
    await settle()
    assert line.identity.asked[-1] == b"good-1"
    line.identity.open.set()
    assert isinstance(await known, Identity)
    await asyncio.gather(*guesses)


async def test_a_token_that_is_rejected_at_last_is_vouched_for_no_longer() -> None:
    line = Line(1)
    await line.ask("good-1")
    await line.ask("made-up")
    line.clock.advance(4000)
    line.identity.known = b"none"
    assert await line.ask("good-1") == Rejected("token_unknown")
    line.clock.advance(60)
    assert isinstance(await line.ask("good-1"), int)


async def test_a_question_that_identity_does_not_answer_is_no_guess() -> None:
    line = Line(1)
    line.identity.away = True
    for number in range(5):
        with pytest.raises(IdentityUnavailable):
            await line.ask(f"good-{number}")
    line.identity.away = False
    assert isinstance(await line.ask("made-up"), Rejected)


async def test_a_new_token_of_another_address_is_asked_about_at_once() -> None:
    line = Line(1000)
    line.identity.open.clear()
    guesses = [line.begin(f"made-up-{number}") for number in range(500)]
    await settle()
    assert len(line.identity.asked) == 3

    other = line.begin("good", OTHER)
    await settle()

    assert line.identity.asked[3:] == [b"good"]
    line.identity.open.set()
    assert isinstance(await other, Identity)
    await asyncio.gather(*guesses)


async def test_addresses_take_turns_where_no_place_is_free() -> None:
    line = Line(1000, at_once=3, places=3)
    line.identity.open.clear()
    guesses = [line.begin(f"{address}-{number}", address) for address in "abc" for number in range(50)]
    await settle()
    last = line.begin("good", OTHER)
    await settle()

    line.identity.open.set()
    assert isinstance(await last, Identity)
    asked_before = line.identity.asked.index(b"good")

    assert asked_before <= 6
    await asyncio.gather(*guesses)


async def test_the_same_new_token_from_two_addresses_is_one_question() -> None:
    line = Line(5)
    line.identity.open.clear()
    both = [line.begin("good", address) for address in (GUESSER, OTHER)]
    await settle()
    line.identity.open.set()
    assert all(isinstance(answer, Identity) for answer in await asyncio.gather(*both))
    assert line.identity.asked == [b"good"]


async def test_a_refused_address_refuses_nobody_else_the_same_token() -> None:
    line = Line(1)
    await line.ask("made-up")
    both = [line.begin("good", address) for address in (GUESSER, OTHER)]
    refused, let_in = await asyncio.gather(*both)
    assert isinstance(refused, int)
    assert isinstance(let_in, Identity)


async def test_a_client_that_leaves_while_its_question_waits_leaves_no_trace() -> None:
    line = Line(100)
    line.identity.open.clear()
    waiting = [line.begin(f"made-up-{number}") for number in range(20)]
    await settle()
    for task in waiting[10:]:
        task.cancel()
    await settle()
    line.identity.open.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    await settle()
    assert len(line.identity.asked) == 10
    assert len(line.guesses) == 0


async def test_a_client_that_leaves_while_its_question_is_asked_pays_for_it() -> None:
    line = Line(1)
    line.identity.open.clear()
    task = line.begin("made-up")
    await settle()
    task.cancel()
    await settle()
    line.identity.open.set()
    await settle()
    assert isinstance(await line.ask("another"), int)
    assert len(line.guesses) == 0


async def test_a_question_that_gets_no_turn_in_time_is_told_that_identity_is_busy() -> None:
    line = Line(100, at_once=1, patience=0.01)
    line.identity.open.clear()
    first = line.begin("made-up-1")
    await settle()
    with pytest.raises(IdentityUnavailable) as caught:
        await line.ask("made-up-2")
    assert caught.value.trouble is Trouble.BUSY
    line.identity.open.set()
    await first


async def test_without_a_limit_questions_still_take_turns() -> None:
    line = Line(None)
    assert await line.many(200) == {"Rejected": 200}
    line.identity.open.clear()
    tasks = [line.begin(f"more-{number}") for number in range(50)]
    await settle()
    assert len(line.identity.asked) == 203
    line.identity.open.set()
    await asyncio.gather(*tasks)


async def test_clients_without_an_address_are_not_counted_as_one() -> None:
    line = Line(1)
    assert await line.many(10, address="") == {"Rejected": 10}


async def test_guesses_are_counted_by_what_came_of_them() -> None:
    metrics = Metrics()
    counter = GuessesByAddress(Rate(2, "day"), local=MemoryCounters(), shared=None)
    guesses = Guesses(counter, metrics=metrics)
    tokens = CachedValidator(Identities(), guesses=guesses)
    for token in (b"a", b"b", b"good"):
        with suppress(GuessesExceeded):
            await tokens.resolve(token, address=GUESSER)
    counted = metrics.counter("metaproxy_token_guesses", "", ("outcome",)).values
    assert counted == {("rejected",): 2, ("refused",): 1}


async def test_all_addresses_of_one_ipv6_network_are_one_guesser() -> None:
    line = Line(2)
    answers = [await line.ask(f"made-up-{n}", f"2001:db8::{n:x}") for n in range(1, 5)]
    assert [isinstance(answer, Rejected) for answer in answers] == [True, True, False, False]
    assert isinstance(await line.ask("made-up-9", "2001:db8:0:1::1"), Rejected)


async def test_a_valid_token_between_guesses_gives_none_of_them_back() -> None:
    line = Line(3)
    tokens = ["made-up-1", "good-1", "made-up-2", "good-2", "made-up-3", "good-3", "made-up-4"]
    answers = [type(await line.ask(token)).__name__ for token in tokens]
    assert answers == ["Rejected", "Identity", "Rejected", "Identity", "Rejected", "int", "int"]


async def test_guesses_come_back_with_time() -> None:
    line = Line(2)
    await line.many(5)
    line.clock.advance(43_200)
    assert await line.many(5) == {"Rejected": 1, "int": 4}


async def test_a_token_that_identity_knows_and_rejects_for_what_it_is_was_no_guess() -> None:
    line = Line(1)
    line.identity.reason = "token_bound"
    assert [type(await line.ask(f"bound-{number}")).__name__ for number in range(3)] == ["Rejected"] * 3
