"""The section ``limits``: rules as the filters take them."""

from metaproxy.config.model.limits import Limits
from metaproxy.config.model.limits import RateRule as ConfiguredRule
from metaproxy.filters.rates import Rates
from metaproxy.protocol.limits.rates import RateRule


def rates(section: Limits) -> Rates:
    """Return the rates that ``section`` describes, with their counters."""
    return Rates(
        [_rule(rule) for rule in section.rates],
        algorithm=section.algorithm,
        exempt=(section.endpoint,) if section.endpoint else (),
    )


def told_absolute(section: Limits) -> dict[str, int]:
    """Return our absolute limits under the names that the limits endpoint tells them by."""
    items = section.absolute.image_metadata_items
    return {"maxImageMeta": items} if items is not None else {}


def _rule(rule: ConfiguredRule) -> RateRule:
    return RateRule(
        name=rule.name,
        limit=rule.rate.limit,
        period_seconds=rule.rate.period_seconds,
        burst=rule.burst,
        path=rule.path or "",
        regex=rule.regex or "",
        query=rule.query,
        methods=frozenset() if "ALL" in rule.methods else frozenset(rule.methods),
        per=rule.per,
        capture_groups=rule.capture_groups,
        groups=rule.groups,
    )
