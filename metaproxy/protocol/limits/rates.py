"""Rate rules: who may send how many of which requests in what time."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from metaproxy.protocol.compute_api import with_head
from metaproxy.protocol.expressions import compiled
from metaproxy.protocol.limits.consumers import CONSUMERS, GLOBAL, OF_TOKENS
from metaproxy.protocol.option_values import Regex, Template
from metaproxy.protocol.routes import template_names
from metaproxy.settings.section import Finding, Section, alone
from metaproxy.settings.units import RequestRate
from metaproxy.settings.values import Count, Method, Text
from metaproxy.settings.written import text_of

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


class RuleError(ValueError):
    """Rate rules that cannot be held, or not together; the message says why."""


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

    @property
    def limit(self) -> int:
        """The requests in a period."""
        return self.rate.limit

    @property
    def period_seconds(self) -> int:
        """The length of the period: a second, a minute, an hour or a day."""
        return self.rate.period_seconds

    @property
    def before_identity(self) -> bool:
        """True if the rule is held before it is known who sends the request."""
        return self.before is not None

    @property
    def is_global(self) -> bool:
        """True if all consumers share one counter: over it the service is full, not the consumer."""
        return GLOBAL.name in self.per

    @property
    def counted_methods(self) -> frozenset[str]:
        """The methods that the rule counts, none for all. GET includes HEAD (RFC 9110 §9.3.2)."""
        return with_head(self.methods) - {"ALL"}

    def captured_names(self) -> tuple[str, ...]:
        """Return the names that the rule's path or regex captures."""
        if self.path is not None:
            return template_names(self.path)
        return tuple(filter(None, compiled(self.regex).names)) if self.regex is not None else ()

    def source(self) -> str:
        """Return what the rule matches, in words for a message."""
        return self.path or self.regex or "a rule without path"
