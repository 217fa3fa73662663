"""Questions to identity about tokens that were never valid here: counted for each address, and asked in turn.

Facts this file rests on. Anybody can make a token up, and identity alone can tell. Tokens that identity
accepts cost an address nothing, however many there are, because several users may stand behind one address.
So a question is charged when it is asked, and the charge is given back unless identity rejects the token:

    state     event                                                          next state
    waiting   a place is free, its address has its turn and room             asking (charged)
    waiting   the same without room, but questions of the address are asked  parked
    waiting   the same without room, and none is asked                       refused
    parked    a question of the address ends with its charge given back      waiting
    parked    the last question of the address is rejected                   refused
    waiting   nothing came of it in time                                     identity is busy
    asking    identity rejects the token                                     ended
    asking    any other end                                                  ended (the charge is given back)

Addresses have their turns one after the other, so that a question waits for no more than one place, however
many another address has. A token that identity has accepted before is vouched for, and asks without a turn.
"""

import asyncio
from collections import deque
from typing import Protocol

from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.protocol.addresses import IPV6_PREFIX, counted_as
from metaproxy.tasks import TaskSet
from metaproxy.telemetry.metrics import Metrics

MAX_WAITING = 4096
"""Questions of one address that wait at most; one more is refused."""
MAX_VOUCHED = 32_768
"""Digests of tokens that were valid: 90 bytes each."""


class GuessesExceeded(Exception):
    """An address has tried too many tokens that identity rejected. ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


class Charged(Protocol):
    """One guess that was charged to its address."""

    async def give_back(self) -> None:
        """Take the charge back. Must not raise."""


class GuessCounter(Protocol):
    """Counts the guesses of each address, or each network of IPv6."""

    async def take(self, address: str) -> Charged | int:
        """Charge one guess to ``address``; return the seconds until one fits if it does not fit now."""


class Turn:
    """A question that may be asked now. Call ``end`` once."""

    __slots__ = ("_address", "_charged", "_guesses")

    def __init__(self, guesses: "Guesses", address: str, charged: Charged | None) -> None:
        self._guesses = guesses
        self._address = address
        self._charged = charged

    def end(self, *, rejected: bool) -> None:
        """Leave the place to the next question; ``rejected`` says that identity does not know the token."""
        self._guesses.ended(self._address, self._charged, rejected=rejected)


class _Lane:
    """The questions of one address."""

    __slots__ = ("asked", "parked", "pending", "places", "waiting")

    def __init__(self) -> None:
        self.pending = 0
        """Calls of ``turn`` that have not returned."""
        self.places = 0
        self.asked = 0
        """Questions whose charge stands and may still be given back."""
        self.waiting: deque[asyncio.Future[bool]] = deque()
        self.parked: deque[asyncio.Future[bool]] = deque()

    @property
    def is_empty(self) -> bool:
        return not (self.pending or self.places or self.asked)

    def wake(self, *, again: bool, everyone: bool) -> None:
        """Let a parked question, or ``everyone``, try ``again``, or be refused."""
        while self.parked:
            future = self.parked.popleft()
            if not future.done():
                future.set_result(again)
                if not everyone:
                    return


class Guesses:
    """Gives questions their turns.

    Args:
        counter: counts guesses; None sets no limit.
        at_once: places that one address may have at most.
        places: questions that are asked at the same time, of all addresses.
        patience: seconds for which a question waits at most.
        ipv6_prefix: IPv6 addresses that have so many bits in common are one address here.
    """

    def __init__(
        self,
        counter: GuessCounter | None,
        *,
        at_once: int = 32,
        places: int = 60,
        patience: float = 5.0,
        ipv6_prefix: int = IPV6_PREFIX,
        metrics: Metrics | None = None,
    ) -> None:
        self._counter = counter
        self._at_once = at_once
        self._free = places
        self._patience = patience
        self._ipv6_prefix = ipv6_prefix
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[str] = deque()
        self._vouched: dict[bytes, None] = {}
        self._returns = TaskSet()
        metrics = metrics or Metrics()
        outcomes = metrics.counter(
            "metaproxy_token_guesses", "Tokens never seen before that were rejected or refused.", ("outcome",)
        )
        self._rejected, self._refused = outcomes.cell(("rejected",)), outcomes.cell(("refused",))

    def __len__(self) -> int:
        """The number of addresses with a question."""
        return len(self._lanes)

    def vouch(self, key: bytes) -> None:
        """Remember that identity accepts the token under ``key``."""
        self._vouched.pop(key, None)
        if len(self._vouched) >= MAX_VOUCHED:
            del self._vouched[next(iter(self._vouched))]
        self._vouched[key] = None

    def disown(self, key: bytes) -> None:
        """Remember no longer that identity accepted the token under ``key``."""
        self._vouched.pop(key, None)

    def is_vouched(self, key: bytes) -> bool:
        """Say whether identity has accepted the token under ``key`` before."""
        return key in self._vouched

    async def turn(self, address: str) -> Turn:
        """Wait until a question of ``address`` may be asked.

        Raises GuessesExceeded, and IdentityUnavailable (busy) if that takes too long.
        """
        address = counted_as(address, self._ipv6_prefix)
        lane = self._lanes.setdefault(address, _Lane())
        lane.pending += 1
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    await self._place(address, lane)
                    charged = await self._charge(address, lane)
                    if not isinstance(charged, int):
                        lane.asked += 1
                        return Turn(self, address, charged)
                    if not lane.asked:
                        raise self._exceeded(charged)
                    if not await self._parked(lane, charged):
                        raise self._exceeded(charged)
        except TimeoutError:
            raise IdentityUnavailable(Trouble.BUSY, "no turn in time", retry_after=1) from None
        finally:
            lane.pending -= 1
            self._drop_empty(address, lane)

    def ended(self, address: str, charged: Charged | None, *, rejected: bool) -> None:
        """Note the end of a question; see ``Turn.end``."""
        lane = self._lanes[address]
        if charged is not None and not rejected:
            self._returns.start(self._give_back(address, charged, lane), name="give a guess back")
        else:
            lane.asked -= 1
            self._rejected.value += rejected
            if not lane.asked:
                lane.wake(again=False, everyone=True)
        self._leave(address, lane)

    async def close(self) -> None:
        """Wait until every charge is given back."""
        await self._returns.join()

    async def _give_back(self, address: str, charged: Charged, lane: _Lane) -> None:
        await charged.give_back()
        lane.asked -= 1
        lane.wake(again=True, everyone=not lane.asked)
        self._drop_empty(address, lane)

    async def _place(self, address: str, lane: _Lane) -> None:
        """Wait for a place."""
        if not lane.waiting and lane.places < self._at_once and self._free:
            self._take_place(lane)
            return
        if len(lane.waiting) >= MAX_WAITING:
            raise self._exceeded(1)
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.waiting.append(mine)
        if len(lane.waiting) == 1:
            self._turns.append(address)
        try:
            await mine
        except BaseException:
            if mine.done() and not mine.cancelled():
                self._leave(address, lane)  # the place came together with the end of the wait
            elif mine in lane.waiting:
                lane.waiting.remove(mine)
            raise

    async def _charge(self, address: str, lane: _Lane) -> Charged | int | None:
        """Charge a question that has its place; leave the place if it does not fit."""
        if self._counter is None or not address:
            return None
        try:
            charged = await self._counter.take(address)
        except BaseException:
            self._leave(address, lane)
            raise
        if isinstance(charged, int):
            self._leave(address, lane)
        return charged

    async def _parked(self, lane: _Lane, seconds: int) -> bool:
        """Wait until a charge of the address is given back: True; False if all were rejected."""
        if len(lane.parked) >= MAX_WAITING:
            raise self._exceeded(seconds)
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.parked.append(mine)
        try:
            return await mine
        finally:
            if mine in lane.parked:
                lane.parked.remove(mine)

    def _exceeded(self, seconds: int) -> GuessesExceeded:
        self._refused.value += 1
        return GuessesExceeded(max(seconds, 1))

    def _take_place(self, lane: _Lane) -> None:
        lane.places += 1
        self._free -= 1

    def _leave(self, address: str, lane: _Lane) -> None:
        lane.places -= 1
        self._free += 1
        self._give_turns()
        self._drop_empty(address, lane)

    def _give_turns(self) -> None:
        """Give free places to the addresses that wait, one after the other."""
        passed_over = 0
        while self._free and passed_over < len(self._turns):
            address = self._turns.popleft()
            lane = self._lanes.get(address)
            if lane is None or not lane.waiting:
                continue
            if lane.places < self._at_once:
                passed_over = 0
                mine = lane.waiting.popleft()
                if not mine.done():  # a client that has gone
                    self._take_place(lane)
                    mine.set_result(True)
            else:
                passed_over += 1
            if lane.waiting:
                self._turns.append(address)

    def _drop_empty(self, address: str, lane: _Lane) -> None:
        if lane.is_empty and self._lanes.get(address) is lane:
            del self._lanes[address]
