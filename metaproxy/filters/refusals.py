"""The counter that every stage that limits something shares."""

from metaproxy.telemetry.metrics import Counter, Metrics


def refusals(metrics: Metrics | None) -> Counter:
    """Return the counter of refused requests, by the limit that refused them."""
    return (metrics or Metrics()).counter(
        "metaproxy_limit_refusals", "Requests refused, by the limit that refused them.", ("limit",)
    )
