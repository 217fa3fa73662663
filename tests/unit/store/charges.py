"""Charges as the limit stage makes them, for tests of what counts them."""

from typing import Any

from metaproxy.protocol.limits.policy import Policy, State
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.settings.units import RATE_UNITS, Rate
from metaproxy.store.counters import Charge


def per(period_seconds: int, limit: int) -> Rate:
    """Return the rate of ``limit`` requests in ``period_seconds``."""
    return Rate(limit, next(unit for unit, seconds in RATE_UNITS.items() if seconds == period_seconds))


def charge(
    name: str = "r",
    limit: int = 3,
    consumer: str = "project:p",
    *,
    algorithm: str = "gcra",
    period_seconds: int = 60,
    **more: Any,
) -> Charge:
    """Return the charge of one request to a rule of ``limit`` requests a minute."""
    rule = CompiledRule(RateRule(name=name, rate=per(period_seconds, limit), **more), algorithm)
    return Charge(rule.key_for(()) + consumer, consumer, rule)


def spend(policy: Policy, settled: State, cost: int = 1) -> State:
    """Return the state after ``cost`` requests were admitted."""
    return settled[0] + cost * policy.weight, settled[1]
