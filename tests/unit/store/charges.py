"""Charges as the limit stage makes them, for tests of what counts them."""

from typing import Any

from metaproxy.protocol.limits.policy import Policy, State
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.store.counters import Charge


def charge(
    name: str = "r", limit: int = 3, consumer: str = "project:p", *, algorithm: str = "gcra", **more: Any
) -> Charge:
    """Return the charge of one request to a rule of ``limit`` requests a minute."""
    rule = CompiledRule(RateRule(name=name, limit=limit, **{"period_seconds": 60, **more}), algorithm)
    return Charge(rule.key_for(()) + consumer, consumer, rule)


def spend(policy: Policy, settled: State, cost: int = 1) -> State:
    """Return the state after ``cost`` requests were admitted."""
    return settled[0] + cost * policy.weight, settled[1]
