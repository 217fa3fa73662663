"""The section ``limits``: rules as the filters take them, and the checks and stages that hold them."""

from starlette.types import ASGIApp

from metaproxy.assembly.shared import Shared
from metaproxy.check import Check
from metaproxy.filters.concurrency import ConcurrencyLimit, Running
from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.metadata_items import MetadataItemLimit
from metaproxy.filters.rates import Rates
from metaproxy.filters.request_body import RequestBodyLimit
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.limits.settings import Limits
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.store.memory import MemoryCounters
from metaproxy.store.running import SharedRunning
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
        settings=section.model_copy(update={"sharing": section.sharing or shared.usual_sharing}),
        shared=shared.counters(section.algorithm),
        counters=counters,
        mount=mount,
        ipv6_prefix=ipv6_prefix,
    )


def limits(
    section: Limits,
    counted: Rates,
    running: Running,
    metrics: Metrics,
    ipv6_prefix: int = IPV6_PREFIX,
    shared: SharedRunning | None = None,
) -> list[Check]:
    """Return the checks that hold ``section``, in the order of the line.

    ``running`` counts the requests that run now, ``shared`` those of all processes, if that is asked for.
    Rates come last, so that a request that another limit refuses is not charged. The body comes before the
    number of requests, because its verdict rests on the head alone.
    """
    checks: list[Check] = []
    absolute = section.absolute
    if absolute.request_body is not None:
        checks.append(RequestBodyLimit(max_bytes=absolute.request_body, metrics=metrics))
    if absolute.concurrent is not None:
        checks.append(
            ConcurrencyLimit(
                settings=absolute.concurrent,
                limits=section,
                running=running,
                shared=shared,
                ipv6_prefix=ipv6_prefix,
                metrics=metrics,
            )
        )
    checks.append(RateLimit(rates=counted, metrics=metrics))
    return checks


def counted_answers(
    app: ASGIApp, section: Limits, counted: Rates, metrics: Metrics, mount: Mount = NOT_MOUNTED
) -> list[LimitsEndpoint | MetadataItemLimit]:
    """Return the stages that make or count answers for ``section``, the outermost first, around ``app``.

    They come after the rates, which exempt the limits endpoint: asking is never charged.
    """
    stages: list[LimitsEndpoint | MetadataItemLimit] = []
    told = _told_absolute(section)
    if section.endpoint and (section.rates or told):  # else there is nothing to add to the upstream's answer
        stages.append(LimitsEndpoint(app, rates=counted, path=section.endpoint, absolute=told, mount=mount))
    absolute = section.absolute
    if absolute.items_returned is not None or absolute.image_metadata_items is not None:
        stages.insert(
            0,
            MetadataItemLimit(
                stages[0] if stages else app,
                returned=absolute.items_returned,
                held=absolute.image_metadata_items,
                metrics=metrics,
            ),
        )
    return stages


def _told_absolute(section: Limits) -> dict[str, int]:
    """Return our absolute limits under the names that the limits endpoint tells them by."""
    items = section.absolute.image_metadata_items
    return {"maxImageMeta": items} if items is not None else {}
