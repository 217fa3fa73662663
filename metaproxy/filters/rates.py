"""The rates of one configuration with their counters: what the limit stage, the limits endpoint and
the operator's listener share.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from starlette.types import Scope

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange, Identity
from metaproxy.protocol.limits.consumers import group_of
from metaproxy.protocol.limits.policy import Standing, standing
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule, RateTable
from metaproxy.store.counters import Charge, Taken
from metaproxy.store.memory import MemoryCounters

OnStoreFailure = Literal["local", "allow", "deny"]

NOBODY = Identity()


class Rates:
    """Counts requests against rules, in this process.

    Args:
        rules: the rates to hold.
        algorithm: ``gcra`` or ``fixed-window``.
        exempt: path templates whose GET and HEAD are never counted (the limits endpoint).
        max_counters: how many counters this process keeps at most.
        monotonic: the clock that counts.

    Raises RuleError for rules that contradict themselves or each other.
    """

    def __init__(
        self,
        rules: Sequence[RateRule],
        *,
        algorithm: str = "gcra",
        exempt: Sequence[str] = (),
        max_counters: int = 100_000,
        monotonic: Clock = clock.monotonic,
    ) -> None:
        self._table = RateTable(rules, algorithm=algorithm, exempt=exempt)
        self._local = MemoryCounters(max_counters=max_counters, monotonic=monotonic)

    def charges(self, exchange: Exchange, scope: Scope) -> list[Charge]:
        """Return the counters that this request would be charged to."""
        who = exchange.identity or NOBODY
        targets = self._table.targets(scope["method"], scope["path"], scope["query_string"], self._group(who))
        return [_charge(target.rule, target.key, who, exchange.client_address) for target in targets]

    def take(self, charges: Sequence[Charge]) -> Taken | None:
        """Charge all or none, if that can be done from memory; None where the store must be awaited."""
        return self._local.take(charges)

    async def standings(
        self, exchange: Exchange, captures: Mapping[str, str]
    ) -> list[tuple[RateRule, Standing]]:
        """Return where the consumer stands with each of its rules, without charging it.

        A rule that counts apart by what a path captures has many counters; it is told as the one for
        ``captures``, which is an untouched one where they lack a name.
        """
        who = exchange.identity or NOBODY
        address = exchange.client_address
        rules = self._table.for_group(self._group(who))
        charges = [
            _charge(rule, rule.key_for(captures.get(name, "") for name in rule.captured), who, address)
            for rule in rules
        ]
        taken = self._local.peek(charges)
        return [
            (rule.rule, standing(rule.policy, state, taken.now))
            for rule, state in zip(rules, taken.states, strict=True)
        ]

    def _group(self, who: Identity) -> str:
        configured = self._table.groups
        if not configured:
            return ""
        return group_of([name for name, _ in who.groups], configured) or group_of(who.roles, configured)


def _charge(rule: CompiledRule, key: str, who: Identity, address: str) -> Charge:
    consumer = rule.consumer_of(who.project_id, who.user_id, address)
    return Charge(key + consumer, consumer, rule)
