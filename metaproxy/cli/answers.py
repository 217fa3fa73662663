"""The answers of the admin listener, as far as the commands read them.

Each type has the keys that a command needs, and an answer may have more. Something else than metaproxy may
answer at the address, so every answer is held against its type before a command uses it.
"""

from typing import Any, NotRequired, TypedDict


class Check(TypedDict):
    """One reason to be ready or not, degraded or not."""

    well: bool
    says: str


class Target(TypedDict):
    """One upstream."""

    name: str
    healthy: bool
    breaker: str
    active_requests: int


class Usage(TypedDict):
    """How full the cache is."""

    entries: int
    bytes: int
    max_bytes: int


class Consumer(TypedDict):
    """One consumer and its requests."""

    consumer: str
    requests: int
    refusals: int


class Latency(TypedDict):
    """The durations of requests."""

    counts: list[int]


class Status(TypedDict):
    """``/status``, as ``metaproxy status`` reads it."""

    version: str
    worker: NotRequired[int]
    workers: NotRequired[int]
    ready: bool
    draining: bool
    degraded: NotRequired[list[str]]
    uptime_seconds: float
    checks: dict[str, Check]
    requests: dict[str, int]
    upstream: list[Target]
    cache: Usage | None


class Look(TypedDict):
    """``/status``, as ``metaproxy top`` reads it."""

    version: str
    worker: NotRequired[int]
    workers: NotRequired[int]
    ready: bool
    uptime_seconds: float
    generation: int
    now: float
    requests: dict[str, int]
    latency_bounds: list[float]
    latency: dict[str, Latency]
    consumers: list[Consumer]
    upstream: list[Target]


class Rule(TypedDict):
    """A rate that is held."""

    name: str
    limit: int
    unit: str
    per: list[str]
    path: str


class Concurrent(TypedDict):
    """The number of requests that may run at once."""

    per: str
    max: int
    shared: bool
    running: int


class Limits(TypedDict):
    """``/limits``."""

    rules: list[Rule]
    concurrent: NotRequired[Concurrent | None]
    consumers: list[Consumer]


class Reset(TypedDict):
    """``/limits/reset``."""

    counters: int


class Purged(TypedDict):
    """``/cache/purge``."""

    purged: int
    replicas_told: NotRequired[bool]
    workers_told: NotRequired[bool]


class Revoked(TypedDict):
    """``/tokens/revoke``."""

    forgotten: int
    replicas_told: NotRequired[bool]
    workers_told: NotRequired[bool]


class Reloaded(TypedDict):
    """``/reload``."""

    path: str
    generation: int
    needs_restart: list[str]
    unchanged: NotRequired[bool]


class LogLevel(TypedDict):
    """``/logging``."""

    level: str


class InUse(TypedDict):
    """``/config``."""

    config: dict[str, Any]
