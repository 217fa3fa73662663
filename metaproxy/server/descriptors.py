"""File descriptors: how many there may be, and how many client connections that leaves room for.

Facts this file rests on. Every connection takes one descriptor (getrlimit(2), ``RLIMIT_NOFILE``, for each
process). A process without a free one cannot accept, connect, or open a file; the event loop then accepts and
drops whatever waits at its listeners, the operator's own too. So client connections are bounded before that:
those behind them (never more than there are requests) and a reserve for all else stay possible. The soft
limit of 1024 that many systems set is for programs that use select(2); others may raise it to the hard one,
as servers in Go and nginx do.
"""

import os
import resource
from bisect import bisect_right
from dataclasses import dataclass

import structlog

from metaproxy.assembly.identity import IDENTITY_CONNECTIONS
from metaproxy.clock import Clock, monotonic
from metaproxy.config.model import Config
from metaproxy.config.model.identity import Keystone
from metaproxy.telemetry.metrics import Metrics, Samples
from metaproxy.telemetry.repeats import Repeats

logger = structlog.get_logger("metaproxy")

RESERVE = 64
"""The operator's connections, the store, files that a reload reads, the log, and connections about to end."""
LINGERING = 16
"""How many of these may be refused clients that are still sending."""
MOST_LINGERING = 256
LEAST_CONNECTIONS = 8
SECONDS_BETWEEN_LINES = 10.0


def raise_limit() -> int:
    """Raise this process's soft limit to its hard one; return the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            logger.warning("the limit of file descriptors stays", soft=soft, hard=hard, reason=str(error))
    return limit()


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


@dataclass(frozen=True, slots=True)
class Needs:
    """How many connections to other servers there may be: never more than there are client connections."""

    upstream: int
    identity: int
    fixed: int
    """Listeners, one health check for each target, and the reserve."""

    def descriptors(self, connections: int) -> int:
        """Return how many descriptors so many client connections need, all else included."""
        return connections + min(connections, self.upstream) + min(connections, self.identity) + self.fixed

    def connections(self, descriptors: int, wanted: int) -> int:
        """Return how many of ``wanted`` client connections fit into so many descriptors."""
        more = range(LEAST_CONNECTIONS + 1, wanted + 1)
        return min(LEAST_CONNECTIONS + bisect_right(more, descriptors, key=self.descriptors), wanted)


def needs(config: Config) -> Needs:
    """Return what ``config`` may need behind the client connections."""
    upstream = config.upstream
    has_identity = isinstance(config.identity, Keystone)
    listeners = len(config.server.listen) + len(config.admin.listen) * config.server.workers
    return Needs(
        upstream=upstream.max_connections * len(upstream.targets),
        identity=IDENTITY_CONNECTIONS if has_identity else 0,
        fixed=RESERVE + listeners + len(upstream.targets),
    )


def room(config: Config) -> int:
    """Return how many client connections one process accepts: server.max_connections, or what fits."""
    return needs(config).connections(limit(), config.server.max_connections)


def lingering(config: Config) -> int:
    """Return how many refused clients may be waited for: they read why, if their connection ends late."""
    spare = limit() - needs(config).descriptors(room(config))
    return min(MOST_LINGERING, LINGERING + max(spare, 0))


def warn_if_short(config: Config) -> None:
    """Log it if the descriptors do not suffice for server.max_connections."""
    wanted, accepted = config.server.max_connections, room(config)
    if accepted < wanted:
        logger.warning(
            "the limit of file descriptors does not suffice for server.max_connections",
            max_connections=wanted,
            accepted_connections=accepted,
            descriptors=limit(),
            needed=needs(config).descriptors(wanted),
            remedy="raise LimitNOFILE or ulimit -n, or lower server.max_connections",
        )


def in_use() -> int:
    """Return how many descriptors are open; the one that lists them is not counted."""
    return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - one call, and no Path for each of thousands


def samples() -> Samples:
    """Return the descriptors that are open, and how many there may be, as a gauge shows them."""
    try:
        return [(("open",), in_use()), (("limit",), limit())]
    except OSError:
        return [(("limit",), limit())]


class Refusals:
    """Counts the client connections that are refused, and logs them, a line in ten seconds at most."""

    def __init__(self, metrics: Metrics | None = None, monotonic: Clock = monotonic) -> None:
        self._counter = (metrics or Metrics()).counter(
            "metaproxy_connections_refused", "Connections of clients that were refused.", ("reason",)
        )
        for reason in ("too_many_connections", "too_many_connections_of_address"):
            self._counter.cell((reason,))  # a rate has to see the first one
        self._events = Repeats(
            logger.warning, interval=SECONDS_BETWEEN_LINES, number="refused", clock=monotonic
        )

    def add(self, reason: str, *, connections: int) -> None:
        """Count one that is refused for ``reason``, while there are so many ``connections``."""
        self._counter.add((reason,))
        self._events.log("connections are refused", reason=reason, connections=connections)
