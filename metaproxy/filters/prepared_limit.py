"""Rates of a request that came before: its counters are known.

What is charged, counted and told is what ``RateLimit`` charges, counts and tells.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.types import Scope

from metaproxy.check import GOES_ON, Decided, Prepared
from metaproxy.exchange import Exchange
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import lines
from metaproxy.store.counters import Charge, Taken
from metaproxy.verdicts import PASS, Verdict

if TYPE_CHECKING:
    from metaproxy.filters.limit import RateLimit


def prepared_limit(limit: "RateLimit", exchange: Exchange, scope: Scope) -> Prepared:
    """Return the decision of ``limit`` on requests like this one."""
    charges = limit.charges_of(exchange, scope)
    metered = limit.metered(charges)
    return metered if metered is not None else _PreparedLimit(limit, charges)


class _PreparedLimit(Prepared):
    """Charges the counters that were found before."""

    __slots__ = ("_charges", "_limit")

    def __init__(self, limit: "RateLimit", charges: Sequence[Charge]) -> None:
        self._limit = limit
        self._charges = charges

    def decide(self, exchange: Exchange) -> Verdict:
        return self._limit.charge(exchange, self._charges) if self._charges else PASS

    def admit(self, now: float) -> Decided | None:
        return self._decided(self._limit.rates.take(self._charges)) if self._charges else GOES_ON

    def refuse(self, now: float) -> Decided | None:
        return self._decided(self._limit.rates.refusal(self._charges)) if self._charges else GOES_ON

    def _decided(self, taken: Taken | Fault | None) -> Decided | None:
        if taken is None:
            return None
        fault, told = self._limit.concluded(self._charges, taken)
        return fault, lines(told)
