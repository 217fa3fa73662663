"""``/metrics``: every number, as Prometheus reads it."""

import asyncio
import platform
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metaproxy.admin.health import readiness
from metaproxy.admin.service import Service
from metaproxy.assembly.readiness import REQUIREMENTS
from metaproxy.version import __version__


def routes(service: Service) -> list[Route]:
    """Return ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", metrics)]


class ServiceCollector(Collector):
    """The numbers of the application in use, and those about its configuration.

    Reads the application anew at every scrape, because a reload replaces it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family (the collector interface of prometheus_client)."""
        yield from self._service.application.metrics.collect()
        yield InfoMetricFamily(
            "metaproxy_build",
            "What runs.",
            {"version": __version__, "python": platform.python_version()},
        )
        yield GaugeMetricFamily("metaproxy_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
        yield from self._readiness()
        yield from self._config()
        yield self._certificates()

    def _readiness(self) -> Iterable[Metric]:
        checks = readiness(self._service)
        ready = GaugeMetricFamily(
            "metaproxy_ready", "Whether the process may be given requests, by reason.", labels=("check",)
        )
        degraded = GaugeMetricFamily(
            "metaproxy_degraded",
            "Whether something fails that is no reason to get no requests, by what fails.",
            labels=("what",),
        )
        for name, check in checks.items():
            if name in REQUIREMENTS:
                ready.add_metric((name,), float(check.well or not check.is_required))
            if name != "server":
                degraded.add_metric((name,), float(not check.well and not check.is_required))
        yield ready
        yield degraded

    def _certificates(self) -> Metric:
        ends = GaugeMetricFamily(
            "metaproxy_tls_certificate_not_after_seconds",
            "When the certificate in use ends (seconds since the epoch), by the section that names it.",
            labels=("name",),
        )
        for section, end in self._service.application.certificate_ends.items():
            ends.add_metric((section,), end)
        return ends

    def _config(self) -> Iterable[Metric]:
        state = self._service.state
        yield GaugeMetricFamily(
            "metaproxy_config_generation",
            "How many configurations have been in use since the start.",
            state.generation,
        )
        yield GaugeMetricFamily(
            "metaproxy_config_loaded_timestamp_seconds",
            "When the configuration in use was loaded.",
            state.loaded_at,
        )
        yield GaugeMetricFamily(
            "metaproxy_config_last_reload_successful",
            "Whether the last attempt to load a configuration succeeded.",
            float(not state.problems),
        )
        yield CounterMetricFamily(
            "metaproxy_config_reloads_refused",
            "Configurations that were refused; each changed nothing.",
            state.reloads_refused,
        )
