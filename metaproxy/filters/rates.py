"""The rates of one configuration with their counters: what the limit stage, the limits endpoint and
the operator's listener share.
"""

from collections.abc import Mapping, Sequence

from starlette.types import Scope

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.exchange import Exchange, Identity
from metaproxy.memo import Memo
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.consumers import group_of, respelled, values_of_identity
from metaproxy.protocol.limits.early import refuse_tenants
from metaproxy.protocol.limits.policy import Standing, standing
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.limits.table import CompiledRule, RateTable, Targets
from metaproxy.protocol.limits.top import ConsumerCount, TopConsumers
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.settings.section import chosen
from metaproxy.store.counters import UNCOUNTED, Charge, SendingMeter, SharedCounters, Taken
from metaproxy.store.leases import LeasedMeter, Leases
from metaproxy.store.memory import MemoryCounters, Meter
from metaproxy.store.unavailable import StoreUnavailable

NOBODY = Identity()


def store_unavailable() -> Fault:
    """Return the refusal of every request while the store is away, if that means to refuse."""
    message = "The limits of this request cannot be checked now."
    return Fault(503, message, reason="store_unavailable", retry_after=1)


STORE_UNAVAILABLE = store_unavailable()
"""The same for those who return it. It is never raised."""

MEMO_ENTRIES = 1024


class Rates:
    """Counts requests against rules, in this process or in a store that replicas share.

    Args:
        rules: the rates to hold, those before identity and those behind it, if there are no ``settings``.
        settings: the rates with all that holds for them; or else ``rules`` and its options by name.
        shared: the counters that replicas share; None counts in this process.
        counters: the counters of this process; None makes ``max_counters`` of them.
        ipv6_prefix: IPv6 addresses that have so many bits in common are one consumer.

    GET and HEAD of ``endpoint`` are never counted, but by rules that are held before identity.
    Raises RuleError for rules that would count names of one resource apart.
    """

    def __init__(
        self,
        rules: Sequence[RateRule] = (),
        /,
        settings: Limits | None = None,
        *,
        shared: SharedCounters | None = None,
        counters: MemoryCounters | None = None,
        mount: Mount = NOT_MOUNTED,
        ipv6_prefix: int = IPV6_PREFIX,
        monotonic: Clock = clock.monotonic,
        **options: object,
    ) -> None:
        if rules:
            options["rates"] = rules
        self.settings = settings = chosen(Limits, settings, options)
        rules, algorithm = settings.rates, settings.algorithm
        exempt = (settings.endpoint,) if settings.endpoint else ()
        early = [rule for rule in rules if rule.before_identity]
        late = [rule for rule in rules if not rule.before_identity]
        for rule in early:
            refuse_tenants(rule, mount)
        self._early = RateTable(
            early, algorithm=algorithm, exempt=exempt, mount=mount, ipv6_prefix=ipv6_prefix
        )
        self._table = RateTable(
            late, algorithm=algorithm, exempt=exempt, mount=mount, ipv6_prefix=ipv6_prefix
        )
        self._ipv6_prefix = ipv6_prefix
        self._memo: Memo[tuple[Targets, object, str], tuple[Charge, ...]] = Memo(MEMO_ENTRIES)
        self._shared = shared
        leased = shared if settings.sharing == "leased" else None
        self._leases = None if leased is None else Leases(leased, monotonic=monotonic)
        self._on_store_failure = settings.on_store_failure
        if counters is None:
            counters = MemoryCounters(max_counters=settings.max_counters, monotonic=monotonic)
        self._local = counters
        self.monotonic = monotonic
        self.rules = rules
        self.top_consumers = TopConsumers()
        self.without_store = 0
        """How many requests were decided while the shared counters were away."""

    def __len__(self) -> int:
        """The number of counters in this process."""
        return len(self._local)

    async def start(self) -> None:
        """Nothing is begun: a counter comes with the first request that it counts."""

    async def close(self) -> None:
        """Give back what was borrowed. The store belongs to the code that made it."""
        if self._leases is not None:
            await self._leases.close()

    def charges(self, exchange: Exchange, scope: Scope) -> Sequence[Charge]:
        """Return the counters that this request would be charged to."""
        who = exchange.identity or NOBODY
        targets = self._table.targets(
            scope["method"], scope["path"], scope["query_string"], self._group(who), who.project_id
        )
        return self._charges(targets, exchange, who) if targets else ()

    def early_charges(self, exchange: Exchange, scope: Scope) -> Sequence[Charge]:
        """Return the counters of the rules before identity that this request would be charged to."""
        targets = self._early.targets(scope["method"], scope["path"], scope["query_string"], "")
        return self._charges(targets, exchange, NOBODY) if targets else ()

    def meet_kinds(self, *, before_identity: bool) -> bool:
        """Say whether all paths of a kind (``compute_api.kind_of_path``) meet the same of these rules."""
        return (self._early if before_identity else self._table).is_shaped

    def _charges(self, targets: Targets, exchange: Exchange, who: Identity) -> Sequence[Charge]:
        # One consumer meets the same few rules again and again.
        asked = targets, values_of_identity(who), exchange.client_address
        found = self._memo.get(asked)
        if found is None:
            charges = tuple([_charge(target.rule, target.key, exchange) for target in targets])
            found = self._memo.keep(asked, charges)
        return found

    def take(self, charges: Sequence[Charge], now: float | None = None) -> Taken | Fault | None:
        """Charge all or none, if that can be done at once; None if the store must be awaited.

        A Fault is the refusal of every request while the store is away, if that means to refuse. ``now`` is
        the moment that ``can_take`` was asked about, if it was.
        """
        if self._shared is None:
            return self._recorded(charges, self._local.take(charges))
        if self._leases is not None:
            taken = self._leases.take_now(charges, self.monotonic() if now is None else now)
            if taken is not None:
                return self._recorded(charges, taken)
        return None if self._shared.available else self._without_store(charges)

    def can_take(self, charges: Sequence[Charge], now: float) -> bool:
        """Say whether ``take`` decides at once. Charges nothing."""
        if self._shared is None or not self._shared.available:
            return True
        return self._leases is not None and self._leases.can_take(charges, now)

    def refusal(self, charges: Sequence[Charge]) -> Taken | Fault | None:
        """Return what ``take`` would, if that refuses; else, or if it is not known, None. Charges nothing."""
        if self._leases is not None:
            now = self.monotonic()
            if self._leases.can_take(charges, now):
                refused = self._leases.refusal(charges, now)
                return None if refused is None else self._recorded(charges, refused)
        if self._shared is not None:
            if self._shared.available or self._on_store_failure == "allow":
                return None
            if self._on_store_failure == "deny":
                return self._without_store(charges)
        taken = self._local.refusal(charges)
        return None if taken is None else self._recorded(charges, taken)

    def meter(self, charge: Charge) -> Meter | LeasedMeter | SendingMeter:
        """Return the counter of ``charge`` for who charges it again and again.

        The caller records each charge in ``top_consumers``.
        """
        if self._leases is not None:
            return self._leases.meter(charge)
        return self._local.meter(charge) if self._shared is None else self._shared.meter(charge)

    async def take_shared(self, charges: Sequence[Charge]) -> Taken | Fault:
        """Charge all or none in the shared store; do what ``take`` does if that fails."""
        if self._shared is None:
            return self._recorded(charges, self._local.take(charges))
        try:
            return self._recorded(charges, await (self._leases or self._shared).take(charges))
        except StoreUnavailable:
            return self._without_store(charges)

    async def standings(
        self, exchange: Exchange, captures: Mapping[str, str]
    ) -> list[tuple[RateRule, Standing]]:
        """Return where the consumer stands with each of its rules, without charging it.

        A rule that counts apart by what a path captures has many counters; it is told as the one for
        ``captures``, which is an untouched one where they lack a name. Raises the Fault that refuses every
        other request, if that is what holds while the store is away.
        """
        order = {rule.name: position for position, rule in enumerate(self.rules)}
        rules = sorted(
            (*self._early.rules, *self._table.for_group(self._group(exchange.identity or NOBODY))),
            key=lambda rule: order[rule.rule.name],
        )
        charges = [
            _charge(rule, rule.key_for(captures.get(name, "") for name in rule.captured), exchange)
            for rule in rules
        ]
        taken = await self._peek(charges)
        return [
            (rule.rule, standing(rule.policy, state, taken.now))
            for rule, state in zip(rules, taken.states, strict=True)
        ]

    def top(self, number: int) -> list[ConsumerCount]:
        """Return the consumers that sent most through this process in the last minutes."""
        return self.top_consumers.top(number, self.monotonic())

    async def reset(self, consumer: str) -> int:
        """Give ``consumer`` (``project:a1``) all its rates anew; return how many counters it had.

        An address may be spelled in any way; it stands for all that are counted as one with it.
        Raises StoreUnavailable while the shared counters are away.
        """
        consumer = respelled(consumer, self._ipv6_prefix)
        self.top_consumers.forget(consumer)
        removed = self._local.reset(consumer)
        if self._leases is not None:
            self._leases.reset(consumer)
        return removed if self._shared is None else removed + await self._shared.reset(consumer)

    async def _peek(self, charges: Sequence[Charge]) -> Taken:
        if self._shared is not None:
            try:
                return await (self._leases or self._shared).peek(charges)
            except StoreUnavailable as error:
                self.without_store += 1
                if charges and self._on_store_failure == "deny":
                    raise store_unavailable() from error
        return self._local.peek(charges)

    def _without_store(self, charges: Sequence[Charge]) -> Taken | Fault:
        self.without_store += 1
        match self._on_store_failure:
            case "local":
                return self._recorded(charges, self._local.take(charges))
            case "allow":
                return UNCOUNTED
            case "deny":
                return STORE_UNAVAILABLE

    def _recorded(self, charges: Sequence[Charge], taken: Taken) -> Taken:
        now = self.monotonic()
        if len(charges) == 1:
            self.top_consumers.record(charges[0].consumer, now, refused=not taken.admitted)
            return taken
        # Each consumer once, however many of its rules were met.
        for consumer in {consumer for _, consumer, _ in charges}:
            self.top_consumers.record(consumer, now, refused=not taken.admitted)
        return taken

    def _group(self, who: Identity) -> str:
        positions = self._table.groups
        if not positions:
            return ""
        return group_of((*(name for name, _ in who.groups), *who.roles), positions)


def _charge(rule: CompiledRule, key: str, exchange: Exchange) -> Charge:
    consumer = rule.consumer_of(exchange)
    return Charge(key + consumer, consumer, rule)
