"""uvicorn's server as this process uses it: without what metaproxy does itself."""

import contextlib
import math
import ssl
from collections.abc import Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from metaproxy.app import Application
from metaproxy.config.model.server import Server
from metaproxy.server.edge import Edge, EdgeLimits
from metaproxy.server.protocol import EdgeProtocol


class QuietServer(uvicorn.Server):
    """uvicorn's server without its signal handlers: the worker has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def quiet_server(app: ASGIApp, *, grace: float, **options: object) -> QuietServer:
    """Return a server for ``app`` that lets requests finish for ``grace`` seconds at its end."""
    return QuietServer(
        uvicorn.Config(
            app,
            lifespan="off",
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(grace),
            **options,  # type: ignore[arg-type] # the few that the two servers differ in
        )
    )


def data_server(app: ASGIApp, edge: Edge, *, grace: float, tls: ssl.SSLContext | None) -> QuietServer:
    """Return the server that clients reach: ``app`` behind ``edge``."""
    server = quiet_server(app, grace=grace, http=partial(EdgeProtocol, edge=edge), date_header=False)
    if tls is not None:
        server.config.load()
        server.config.ssl = tls
    return server


def edge_limits(section: Server) -> EdgeLimits:
    """Return the bounds that ``section`` sets."""
    return EdgeLimits(
        header_bytes=section.header_bytes,
        header_seconds=section.header_timeout,
        body_seconds=section.body_timeout,
        idle_seconds=section.idle_timeout,
        max_connections=section.max_connections,
        max_connections_per_address=section.max_connections_per_address,
        trusted_proxies=section.trusted_proxies,
    )


def edge_of(application: Application) -> Edge:
    """Return what the connections of ``application`` share."""
    trace = application.trace
    return Edge(edge_limits(application.config.server), trace.via, trace.record, trace.date)
