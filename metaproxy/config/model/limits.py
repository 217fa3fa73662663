"""The section about how much a consumer may ask for."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from metaproxy.protocol.expressions import compiled
from metaproxy.protocol.limits.consumers import CONSUMERS, GLOBAL, OF_TOKENS
from metaproxy.protocol.option_values import Regex, Template
from metaproxy.protocol.routes import template_names
from metaproxy.settings.section import Finding, Section, alone
from metaproxy.settings.units import RequestRate, Size
from metaproxy.settings.values import BlankIsNone, Connections, Count, Entries, Method, NumberInText, Text
from metaproxy.settings.written import OneOf, text_of

LONGEST_REFILL = 365 * 86400
"""Seconds until a burst that was used up is there again. The counter lives as long."""

RuleName = Annotated[
    str,
    text_of(
        "name",
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "a name has letters, digits, '.', '_' and '-', and at most 64 of them",
        "metadata-reads",
    ),
]


class RateRule(Section):
    """How often requests of one kind may be made by one consumer."""

    name: RuleName
    """The rule's name in logs, metrics, the limits answer and RateLimit-Policy."""
    path: Template | None = None
    """Path template that the rule is for; neither path nor regex is every path."""
    regex: Regex | None = None
    """Regular expression (RE2) that the whole path fits, in place of path."""
    query: tuple[Text, ...] = ()
    """Names of query parameters that a request must all have, in any case."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("ALL",)
    """Methods that the rule is for; ALL is every one, and GET includes HEAD."""
    per: Annotated[tuple[Text, ...], Field(min_length=1)] = ("project",)
    """Whose requests share a counter: project, user, address, global, or names that the path captures."""
    capture_groups: bool = True
    """With regex: whether every distinct text of its groups has a counter of its own."""
    before: Literal["identity"] | None = None
    """identity counts a request before its token is looked at: per address, global, no tenant of a path."""
    rate: RequestRate
    """Requests per second, minute, hour or day: 1000/minute."""
    burst: Count | None = None
    """Requests that may come at once (gcra); null is the number in rate."""
    groups: tuple[Text, ...] = ()
    """Names of roles or ids of groups; lifts all rates without groups (but global ones) from their owners."""
    exact: bool = False
    """True if the rule is for this version and form of path or regex alone, not for every name."""

    def findings(self) -> Iterator[Finding]:
        """One kind of path, and only names that it captures."""
        yield from alone("methods", self.methods, "ALL")
        if (
            self.burst is not None
            and self.burst * self.rate.period_seconds > LONGEST_REFILL * self.rate.limit
        ):
            yield ("burst",), f"{self.burst} requests at {self.rate} are the share of more than 365 days"
        if self.path is not None and self.regex is not None:
            yield ("regex",), "stands beside path: a rule has one of them"
            return
        known = (*CONSUMERS, *self.captured_names())
        for index, name in enumerate(self.per):
            if name not in known:
                yield (
                    ("per", index),
                    f"{name!r} is neither one of {', '.join(CONSUMERS)} nor captured by {self.source()}",
                )
        if self.before is not None:
            yield from self._findings_before_identity()
        if GLOBAL.name in self.per and not set(self.per).isdisjoint(CONSUMERS.keys() - {GLOBAL.name}):
            yield ("per",), "global counts all consumers together: it goes with no other consumer"

    def _findings_before_identity(self) -> Iterator[Finding]:
        for index, name in enumerate(self.per):
            if name in OF_TOKENS:
                yield (
                    ("per", index) if "per" in self.model_fields_set else ("before",),
                    f"before identity no {name} is known: count by address, global or a capture of the path",
                )
        if self.groups:
            yield ("groups",), "before identity nobody's groups are known: remove it, or before"

    def captured_names(self) -> tuple[str, ...]:
        """Return the names that the rule's path or regex captures."""
        if self.path is not None:
            return template_names(self.path)
        return tuple(filter(None, compiled(self.regex).names)) if self.regex is not None else ()

    def source(self) -> str:
        """Return what the rule matches, in words for a message."""
        return self.path or self.regex or "a rule without path"


class Concurrency(Section):
    """Requests of one consumer that run at the same time."""

    per: Annotated[str, OneOf(tuple(CONSUMERS))] = "project"
    """Whose requests are counted together."""
    max: Connections = 100
    """How many may run; one more is refused."""
    shared: bool = False
    """True if max holds over all processes together: each request asks the store once. Needs store.url."""


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
    on_store_failure: Literal["local", "allow", "deny"] = "local"
    """While the store is away: count in this process (local), let through (allow), or 503 (deny)."""
    sharing: Literal["exact", "leased"] | None = None
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
