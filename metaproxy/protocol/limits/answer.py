"""The answer of ``GET …/limits`` (compute API v2, "Limits"): rates, and absolute limits, by name.

A rate stands with its ``uri`` (for people) and ``regex`` (for programs), and for each of its methods
with ``value`` requests a ``unit``, how many are ``remaining``, and ``next-available``: the moment (UTC)
from which the next request is admitted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from metaproxy.protocol.expressions import Expression, unmarked
from metaproxy.protocol.limits.policy import Standing
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.routes import parse_template

Document = dict[str, Any]
"""The value of ``limits``: ``rate``, a list, and ``absolute``, an object."""


def rates_of(standings: Iterable[tuple[RateRule, Standing]], now: float) -> list[dict[str, Any]]:
    """Return the ``rate`` list for where a consumer stands with each rule at ``now`` (epoch seconds)."""
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for rule, where in standings:
        path, regex = rule.path or "", unmarked(rule.regex or "")
        place = (path or regex or "*", regex or template_regex(path))
        by_place.setdefault(place, []).extend(
            {
                "verb": method,
                "value": rule.limit,
                "remaining": where.remaining,
                "unit": rule.rate.unit.upper(),
                "next-available": timestamp(now + where.wait_seconds),
            }
            for method in sorted(rule.counted_methods) or ["ALL"]
        )
    return [{"uri": uri, "regex": regex, "limit": limit} for (uri, regex), limit in by_place.items()]


def merged(upstream: Document, rates: Sequence[Any], absolute: Mapping[str, int]) -> Document:
    """Return the upstream's document with ours added: our rates first, the stricter absolute value.

    A negative value says unlimited, as Nova's quotas do.
    """
    theirs = upstream.get("absolute") or {}
    ours = {name: _stricter(theirs.get(name, -1), value) for name, value in absolute.items()}
    return {
        **upstream,
        "rate": [*rates, *(upstream.get("rate") or [])],
        "absolute": {**theirs, **ours},
    }


def timestamp(seconds: float) -> str:
    """Return ``2026-11-23T20:00:00Z`` for seconds since the epoch, rounded up."""
    return datetime.fromtimestamp(ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def template_regex(template: str) -> str:
    """Return a regular expression for the paths of a template; "" is every path."""
    if not template:
        return ".*"
    segments, has_rest = parse_template(template)
    parts = [
        "/" + (re.escape(segment.literal) if segment.literal is not None else _capture(segment.pattern))
        for segment in segments
    ]
    return f"^{''.join(parts)}{'(/.*)?' if has_rest else ''}$"


def _capture(pattern: Expression | None) -> str:
    return f"({pattern.pattern if pattern else '[^/]+'})"


def _stricter(theirs: Any, ours: int) -> int:
    return ours if not isinstance(theirs, int) or theirs < 0 else min(theirs, ours)
