"""Rate rules: who may send how many of which requests in what time."""

import re
from dataclasses import dataclass

from metaproxy.protocol.expressions import ExpressionError, compiled
from metaproxy.protocol.limits.consumers import CONSUMERS, OF_TOKENS
from metaproxy.protocol.routes import TemplateError, template_names

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
"""The periods that the limits answer has words for, in seconds."""

UNIT_NAMES = {seconds: name.upper() for name, seconds in UNITS.items()}


class RuleError(ValueError):
    """A rate rule that cannot be; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """At most ``limit`` requests in ``period_seconds``, counted apart for each value of ``per``.

    Args:
        name: tells the rule to clients (RateLimit fields), in metrics and in the counters' keys.
        limit: requests per period.
        period_seconds: 1, 60, 3600 or 86400.
        burst: how many requests may come at once (GCRA); None is ``limit``. A fixed window knows none.
        path: a path template; the rule concerns the paths that it matches.
        regex: in place of ``path``, a regular expression that must match the whole path.
        query: names of query parameters that a request must all have, in any case (as in Repose).
        methods: the methods concerned; none is all. GET includes HEAD.
        per: ``project``, ``user``, ``address``, ``global``, names that the path captures, or several of
            them. An anonymous request has neither project nor user: its address stands for it.
        capture_groups: whether every distinct text that the groups of ``regex`` capture is counted apart.
        groups: the roles or groups that the rule is for; none is everybody who has no rules of their own.
        before_identity: whether the rule is held before it is known who sends the request; such a rule
            counts by ``address``, ``global`` or captures, and has no groups.
        exact: whether the rule concerns the version and form of ``path`` or ``regex`` alone, and no other
            name of the same resource.

    Raises RuleError for a rule that contradicts itself.
    """

    name: str
    limit: int
    period_seconds: int
    burst: int | None = None
    path: str = ""
    regex: str = ""
    query: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    per: tuple[str, ...] = ("project",)
    capture_groups: bool = True
    groups: tuple[str, ...] = ()
    before_identity: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise RuleError(f"rate {self.name!r}: {problem}")

    @property
    def is_global(self) -> bool:
        """True if all consumers share one counter: over it the service is full, not the consumer."""
        return "global" in self.per

    @property
    def counted_methods(self) -> frozenset[str]:
        """The methods that the rule counts: a HEAD is a GET without the answer's body (RFC 9110 §9.3.2)."""
        return self.methods | {"HEAD"} if "GET" in self.methods else self.methods

    @property
    def unit(self) -> str:
        """The period's name in the limits answer."""
        return UNIT_NAMES[self.period_seconds]

    def captured_names(self) -> tuple[str, ...]:
        """Return the names that the path of a request gives to this rule; raises RuleError."""
        try:
            if self.regex:
                return tuple(filter(None, compiled(self.regex).names))
            return template_names(self.path) if self.path else ()
        except TemplateError as error:
            raise RuleError(f"rate {self.name!r}: {error}") from error
        except ExpressionError as error:
            raise RuleError(f"rate {self.name!r}: {self.regex!r}: {error}") from error

    def _problems(self) -> list[str]:
        unknown = set(self.per) - set(CONSUMERS) - set(self.captured_names())
        checks = {
            "it needs a name of printable ASCII without quotes": not re.fullmatch(
                r"[ !#-\[\]-~]+", self.name
            ),
            "the limit and the burst are at least 1": min(self.limit, self.burst or 1, 1) < 1
            or self.burst == 0,
            f"the period is one of {', '.join(UNITS)}": self.period_seconds not in UNIT_NAMES,
            "it has a path or a regex, not both": bool(self.path and self.regex),
            "'per' names nothing": not self.per,
            "before identity neither projects nor users nor groups are known": self.before_identity
            and bool(self.groups or set(OF_TOKENS) & set(self.per)),
            f"'per' names {', '.join(sorted(unknown))}, which is neither an identity nor captured": bool(
                unknown
            ),
        }
        return [problem for problem, found in checks.items() if found]
