"""``/status``: how it goes right now, in one answer; the page and the command line are made of it."""

import msgspec

from metaproxy.admin import cache, limits
from metaproxy.admin.health import readiness
from metaproxy.admin.operation import Operation
from metaproxy.admin.service import Service
from metaproxy.assembly.readiness import Check, degraded, is_ready
from metaproxy.clock import Clock, monotonic
from metaproxy.telemetry.metrics import SECONDS
from metaproxy.version import __version__

CONSUMERS = 10


class Reason(msgspec.Struct):
    """One check. ``says`` is for eyes."""

    well: bool
    says: str


class Latency(msgspec.Struct):
    """Requests by duration: ``counts`` has one number per bound, and one for what took longer than all."""

    counts: list[int]
    sum_seconds: float


class Target(msgspec.Struct):
    """One upstream. ``breaker`` is closed, half_open or open."""

    name: str
    healthy: bool
    breaker: str
    active_requests: int


class Identity(msgspec.Struct):
    """The identity service, and the token cache before it.

    ``let_in`` is true when identity has once accepted the login. ``trouble`` and ``cause`` are empty while
    it answers.
    """

    provider: str
    let_in: bool
    available: bool
    trouble: str
    cause: str
    unavailable_seconds: float
    tokens: dict[str, int]


class Store(msgspec.Struct):
    """The state that replicas or workers share; ``shared`` is false if there is one process alone."""

    shared: bool
    available: bool


class Status(msgspec.Struct):
    """How it goes right now. Counts are totals since the start: take the difference of two answers.

    ``now`` is the monotonic clock of the process in seconds, to divide such differences by.
    """

    version: str
    worker: int
    """Which of the workers answers, from 0. Every number is of this process alone."""
    workers: int
    now: float
    uptime_seconds: float
    ready: bool
    draining: bool
    degraded: list[str]
    """The checks that fail without being a reason to get no requests."""
    checks: dict[str, Reason]
    generation: int
    loaded_at: float
    requests: dict[str, int]
    """By outcome."""
    refusals: dict[str, int]
    """By the reason for which a request was refused or failed."""
    latency_bounds: list[float]
    """Seconds; shared by every histogram in ``latency``."""
    latency: dict[str, Latency]
    """By outcome."""
    cache: cache.Usage | None
    upstream: list[Target]
    identity: Identity | None
    store: Store
    consumers: list[limits.Consumer]


def operations(service: Service, clock: Clock = monotonic) -> list[Operation]:
    """Return the operation that tells how it goes; ``clock`` is monotonic."""
    started = clock()

    async def show(_: None) -> Status:
        now = clock()
        checks = readiness(service)
        record = service.application.trace.record
        return Status(
            version=__version__,
            worker=service.worker,
            workers=service.application.config.server.workers,
            now=now,
            uptime_seconds=now - started,
            ready=is_ready(checks),
            draining=service.application.draining,
            degraded=degraded(checks),
            checks={name: Reason(check.well, check.says) for name, check in checks.items()},
            generation=service.state.generation,
            loaded_at=service.state.loaded_at,
            requests=record.by_outcome(),
            refusals=record.by_reason(),
            latency_bounds=list(SECONDS),
            latency={
                outcome: Latency(list(row.counts), row.total)
                for (outcome,), row in record.seconds.rows.items()
            },
            cache=cache.usage(service),
            upstream=_targets(service),
            identity=_identity(service),
            store=_store(checks.get("store")),
            consumers=limits.top(service, CONSUMERS),
        )

    return [Operation("GET", "/status", "Tell how it goes right now.", Status, show)]


def _targets(service: Service) -> list[Target]:
    return [
        Target(target.name, target.health.is_healthy, target.breaker.state.name.lower(), target.busy)
        for target in service.application.forward.targets
    ]


def _identity(service: Service) -> Identity | None:
    application = service.application
    if application.authenticate is None:
        return None
    validator = application.authenticate.validator
    return Identity(
        provider=application.config.identity.provider,
        let_in=validator.health.is_let_in,
        available=validator.health.available,
        trouble=validator.health.trouble,
        cause=validator.health.cause,
        unavailable_seconds=validator.health.unavailable_for(),
        tokens={kind: int(number) for (kind,), number in validator.entries()},
    )


def _store(check: Check | None) -> Store:
    return Store(shared=check is not None, available=check is None or check.well)
