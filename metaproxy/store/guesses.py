"""The guesses of each address, counted in the shared store, or in this process while there is none."""

from typing import Literal

from metaproxy.protocol.limits.consumers import ADDRESS, consumer
from metaproxy.protocol.limits.policy import whole_seconds
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.settings.units import Rate
from metaproxy.store.counters import Charge, SharedCounters, Taken
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.unavailable import StoreUnavailable


class GuessRule(RateRule):
    """How many guesses an address has. No rate of a configuration can have its name, which has a blank."""

    name: Literal["identity guesses"] = "identity guesses"
    per: tuple[str, ...] = (ADDRESS.name,)
    before: Literal["identity"] = "identity"


class CountedGuess:
    """One guess that was charged."""

    __slots__ = ("_charge", "_local", "_shared")

    def __init__(self, charge: Charge, local: MemoryCounters, shared: SharedCounters | None) -> None:
        self._charge = charge
        self._local = local
        self._shared = shared

    async def give_back(self) -> None:
        """Take the charge back where it was counted. A store that is lost meanwhile keeps it."""
        if self._shared is None:
            self._local.give_back([self._charge])
            return
        try:
            await self._shared.give_back([self._charge])
        except StoreUnavailable:
            return


class GuessesByAddress:
    """Counts guesses.

    Args:
        rate: how many of them an address has.
        local: the counters of this process, for as long as the shared ones are away or there are none.
        shared: the counters that replicas share, of the same algorithm.
        algorithm: ``gcra`` or ``fixed-window``.
    """

    def __init__(
        self,
        rate: Rate,
        *,
        local: MemoryCounters,
        shared: SharedCounters | None = None,
        algorithm: str = "gcra",
    ) -> None:
        self._rule = CompiledRule(GuessRule(rate=rate), algorithm)
        self._local = local
        self._shared = shared

    async def take(self, address: str) -> CountedGuess | int:
        """Charge one guess to ``address``; return the seconds until one fits if it does not fit now."""
        whose = consumer(ADDRESS.name, address)
        charge = Charge(self._rule.key_for(()) + whose, whose, self._rule)
        taken, shared = await self._take(charge)
        if taken.admitted:
            return CountedGuess(charge, self._local, shared)
        return whole_seconds(self._rule.policy.wait(taken.states[0], taken.now))

    async def _take(self, charge: Charge) -> tuple[Taken, SharedCounters | None]:
        if self._shared is not None and self._shared.available:
            try:
                return await self._shared.take([charge]), self._shared
            except StoreUnavailable:
                pass
        return self._local.take([charge]), None
