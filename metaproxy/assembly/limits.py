"""The section ``limits``: rules as the filters take them, and the stages that hold them."""

from starlette.types import ASGIApp

from metaproxy.assembly.shared import Shared
from metaproxy.config.model.limits import Limits
from metaproxy.config.model.limits import RateRule as ConfiguredRule
from metaproxy.filters.concurrency import ConcurrencyLimit, Running
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.metadata_items import MetadataItemLimit
from metaproxy.filters.rates import Rates
from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.filters.stage import DecidingStage
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.store.memory import MemoryCounters
from metaproxy.telemetry.metrics import Metrics


def rates(
    section: Limits,
    shared: Shared,
    counters: MemoryCounters,
    mount: Mount = NOT_MOUNTED,
    ipv6_prefix: int = IPV6_PREFIX,
) -> Rates:
    """Return the rates that ``section`` describes; ``counters`` are those of this process.

    ``mount`` is the prefix that was taken off paths.
    """
    return Rates(
        [rate_rule(rule) for rule in section.rates],
        algorithm=section.algorithm,
        shared=shared.counters(section.algorithm),
        on_store_failure=section.on_store_failure,
        exempt=(section.endpoint,) if section.endpoint else (),
        counters=counters,
        mount=mount,
        ipv6_prefix=ipv6_prefix,
    )


def limits(
    app: ASGIApp,
    section: Limits,
    counted: Rates,
    running: Running,
    metrics: Metrics,
    mount: Mount = NOT_MOUNTED,
    ipv6_prefix: int = IPV6_PREFIX,
) -> list[DecidingStage]:
    """Return the stages that hold ``section``, in the order of the line, in front of ``app``.

    ``running`` counts the requests that run now.

    What costs nothing to check stands first. The limits endpoint stands behind the rates, which exempt
    it: asking is never charged.
    """
    stages: list[DecidingStage] = []
    told = _told_absolute(section)
    if section.endpoint and (section.rates or told):  # else there is nothing to add to the upstream's answer
        stages.append(LimitsEndpoint(app, rates=counted, path=section.endpoint, absolute=told, mount=mount))
    absolute = section.absolute
    if absolute.items_returned is not None or absolute.image_metadata_items is not None:
        stages.append(
            MetadataItemLimit(
                stages[-1] if stages else app,
                returned=absolute.items_returned,
                held=absolute.image_metadata_items,
                metrics=metrics,
            )
        )
    stages.append(
        RateLimit(
            stages[-1] if stages else app,
            rates=counted,
            over_limit_status=section.over_limit_status,
            headers=section.headers,
            metrics=metrics,
        )
    )
    if absolute.request_body is not None:
        stages.append(RequestBodyLimit(stages[-1], max_bytes=absolute.request_body, metrics=metrics))
    if absolute.concurrent is not None:
        stages.append(
            ConcurrencyLimit(
                stages[-1],
                maximum=absolute.concurrent.max,
                per=absolute.concurrent.per,
                over_limit_status=section.over_limit_status,
                running=running,
                ipv6_prefix=ipv6_prefix,
                metrics=metrics,
            )
        )
    return stages[::-1]


def early_limit(app: ASGIApp, section: Limits, counted: Rates, metrics: Metrics) -> RateLimit | None:
    """Return the stage that holds the rates before identity, in front of ``app``; None if there are none."""
    if not any(rule.before_identity for rule in counted.rules):
        return None
    return RateLimit(
        app,
        rates=counted,
        before_identity=True,
        over_limit_status=section.over_limit_status,
        headers=section.headers,
        metrics=metrics,
    )


def _told_absolute(section: Limits) -> dict[str, int]:
    """Return our absolute limits under the names that the limits endpoint tells them by."""
    items = section.absolute.image_metadata_items
    return {"maxImageMeta": items} if items is not None else {}


def rate_rule(rule: ConfiguredRule) -> RateRule:
    """Return the rate that ``rule`` configures."""
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
        exact=rule.exact,
        before_identity=rule.before == "identity",
    )
