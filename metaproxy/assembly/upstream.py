"""The section ``upstream``: the last application of the line."""

import ssl

from metaproxy.config.model.upstream import Upstream
from metaproxy.forward.breaker import BreakerPolicy
from metaproxy.forward.health import HealthPolicy
from metaproxy.forward.proxy import Forward
from metaproxy.forward.transport import UpstreamTransport
from metaproxy.telemetry.metrics import Metrics


def forward(section: Upstream, via: bytes, metrics: Metrics, tls: ssl.SSLContext | None = None) -> Forward:
    """Return the application that forwards as ``section`` says.

    ``via`` is our element of Via; ``tls`` is for https:// targets.
    """
    transport = UpstreamTransport(
        connect_timeout=section.timeouts.connect,
        read_timeout=section.timeouts.read,
        write_timeout=section.timeouts.read,
        pool_timeout=section.timeouts.pool,
        max_connections=section.max_connections,
        queue=section.queue,
        connection_age=section.connection_age,
        ssl_context=tls,
        metrics=metrics,
    )
    health, breaker = section.health, section.breaker
    return Forward(
        transport,
        targets=[str(target) for target in section.targets],
        via=via,
        host_header=section.host_header,
        strip_prefix=section.strip_prefix,
        retries=section.retries,
        health=HealthPolicy(
            path=health.path,
            interval=health.interval,
            unhealthy_after=health.unhealthy_after,
            healthy_after=health.healthy_after,
            eject_for=health.eject_for,
        ),
        breaker=BreakerPolicy(
            failures=breaker.failures,
            window=breaker.window,
            open_for=breaker.open_for,
            statuses=frozenset(breaker.statuses),
        ),
        metrics=metrics,
    )
