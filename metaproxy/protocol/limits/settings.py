"""The options of limits: the section ``limits`` of the configuration, and what the checks take."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

from metaproxy.protocol.limits.consumers import CONSUMERS
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.option_values import Template
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import Size
from metaproxy.settings.values import BlankIsNone, Connections, Count, Entries, NumberInText
from metaproxy.settings.written import OneOf

OnStoreFailure = Literal["local", "allow", "deny"]
Sharing = Literal["exact", "leased"]


class Concurrency(Section):
    """Requests of one consumer that run at the same time."""

    per: Annotated[str, OneOf(tuple(CONSUMERS))] = "project"
    """Whose requests are counted together."""
    max: Connections = 100
    """How many may run; one more is refused."""
    shared: bool = False
    """True if max holds over all processes that share (store.url, or workers): each request asks once."""


class AbsoluteLimits(Section):
    """Limits of size and number, whatever the rate. There is none that is not written here."""

    request_body: Size | None = None
    """Largest request body; above it 413. null sets no limit."""
    items_returned: Count | None = None
    """Items that a metadata answer may hold; above it 413, uncountable 502. null sets no limit."""
    image_metadata_items: Count | None = None
    """Items that a PUT or POST of metadata may have; more are 413, uncountable 400. It is maxImageMeta."""
    concurrent: Concurrency | None = None
    """Requests of one consumer that may run at the same time; null sets no limit."""


class Limits(Section):
    """How much a consumer may ask for."""

    over_limit_status: Annotated[Literal[413, 429], NumberInText] = 413
    """The answer to one request too many: 413, as the compute API documents, or 429 (RFC 6585)."""
    algorithm: Literal["gcra", "fixed-window"] = "gcra"
    """gcra gives requests back evenly; fixed-window all at once at the end of the unit, as Repose does."""
    on_store_failure: OnStoreFailure = "local"
    """While the store is away: count in this process (local), let through (allow), or 503 (deny)."""
    sharing: Sharing | None = None
    """exact asks shared counters each time, leased borrows ahead; null: leased among workers, else exact."""
    endpoint: Annotated[Template | None, BlankIsNone] = "/v2.1/{tenant_id}/limits"
    """The path of a consumer's limits; null, and no limits, leave that path to the upstream."""
    headers: bool = True
    """True if answers carry RateLimit and RateLimit-Policy."""
    max_counters: Entries = 100_000
    """Counters kept per process; the least recently used goes first, and its consumer starts afresh."""
    rates: tuple[RateRule, ...] = ()
    """How often requests may be made; all rules that match must allow a request."""
    absolute: AbsoluteLimits = AbsoluteLimits()
    """Limits of size and number."""

    def findings(self) -> Iterator[Finding]:
        """No two rules share a name."""
        counted = Counter(rule.name for rule in self.rates)
        for index, rule in enumerate(self.rates):
            if counted[rule.name] > 1:
                yield ("rates", index, "name"), f"{rule.name!r} names more than one rule"
        for index, rule in enumerate(self.rates):
            if self.algorithm == "fixed-window" and rule.burst not in (None, rule.rate.limit):
                yield (
                    ("rates", index, "burst"),
                    f"a fixed window has no burst of its own: remove it, or write {rule.rate.limit}",
                )
