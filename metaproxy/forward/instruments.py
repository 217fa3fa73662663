"""Metrics of the upstream."""

from collections.abc import Sequence

import structlog

from metaproxy.forward.target import Target
from metaproxy.telemetry.metrics import Cell, Metrics, Row
from metaproxy.telemetry.repeats import Repeats

logger = structlog.get_logger(__name__)


class Instruments:
    """Counts requests by target and outcome, and shows each target's breaker and health."""

    def __init__(self, metrics: Metrics, targets: Sequence[Target]) -> None:
        self._failures = Repeats(logger.warning)
        self._requests = metrics.counter(
            "metaproxy_upstream_requests",
            "Requests sent to a target, by status class or by why they failed.",
            ("target", "outcome"),
        )
        # Statuses are numbers of three digits: no more than a thousand for each target.
        self._bound: dict[tuple[str, int], tuple[Cell, Row]] = {}
        self._retries = metrics.counter(
            "metaproxy_upstream_retries", "Requests sent again after this target failed.", ("target",)
        )
        self._seconds = metrics.histogram(
            "metaproxy_upstream_seconds", "Time to the head of the answer.", ("target",)
        )
        metrics.gauge(
            "metaproxy_upstream_breaker",
            "The target's circuit breaker: 0 closed, 1 half-open, 2 open.",
            ("target",),
            lambda: (((target.name,), target.breaker.state.value) for target in targets),
        )
        metrics.gauge(
            "metaproxy_upstream_healthy",
            "Whether the target passes its health checks.",
            ("target",),
            lambda: (((target.name,), float(target.health.is_healthy)) for target in targets),
        )
        metrics.gauge(
            "metaproxy_upstream_active_requests",
            "Requests that the target has to answer.",
            ("target",),
            lambda: (((target.name,), target.busy) for target in targets),
        )

    def answered(self, target: Target, status: int, seconds: float) -> None:
        """A response has begun, after ``seconds``."""
        bound = self._bound.get((target.name, status))
        if bound is None:
            bound = self._bound[target.name, status] = (
                self._requests.cell((target.name, f"{status // 100}xx")),
                self._seconds.row((target.name,)),
            )
        bound[0].value += 1
        bound[1].observe(seconds)

    def failed(self, target: Target, reason: str, cause: str = "") -> None:
        """A request failed, before its response or in it, for a reason of ``errors``. Logged now and then."""
        self._requests.add((target.name, reason))
        self._failures.log(
            "upstream failed", (target.name, reason), target=target.name, reason=reason, cause=cause
        )

    def repeated(self, target: Target) -> None:
        """A request that ``target`` failed is sent again."""
        self._retries.add((target.name,))
