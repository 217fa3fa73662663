"""``/metrics``: every number, as Prometheus reads it."""

import platform

from prometheus_client import CollectorRegistry, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metaproxy.app import Application
from metaproxy.version import __version__


def routes(application: Application) -> list[Route]:
    """Return ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(application.metrics)
    ProcessCollector(registry=registry)
    build = Info("metaproxy_build", "What runs.", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return [Route("/metrics", metrics)]
