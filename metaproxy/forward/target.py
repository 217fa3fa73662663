"""A place that requests can be sent to, and what is known of it."""

from types import TracebackType
from typing import Self

import httpx

from metaproxy.clock import Clock
from metaproxy.forward.breaker import Breaker
from metaproxy.forward.engine.pool import Pool
from metaproxy.forward.errors import is_failure_of_target
from metaproxy.forward.health import Health


class Target:
    """One upstream.

    Args:
        name: ``http://host:port``, ``https://host:port`` or ``unix:/path``, as configured.
        breaker: decides whether requests may pass; it learns from them.
        health: the verdict of the checks.
        monotonic: the breaker's clock.
        failing: statuses of answers that the breaker takes for failures.

    ``busy`` is the number of requests that it has to answer right now. ``pool`` has the connections to it,
    once one was needed. Raises ValueError for a name of another form.
    """

    def __init__(
        self,
        name: str,
        *,
        breaker: Breaker,
        health: Health,
        monotonic: Clock,
        failing: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self.url = httpx.URL(name)
        if self.url.scheme == "unix":
            self.authority = b"localhost"
        elif self.url.scheme in ("http", "https") and self.url.host and self.url.raw_path == b"/":
            self.authority = self.url.netloc
        else:
            raise ValueError(f"a target is http://host:port, https://host:port or unix:/path, not {name!r}")
        self.breaker = breaker
        self.health = health
        self.monotonic = monotonic
        self.failing = failing
        self.busy = 0
        self.pool: Pool | None = None

    @property
    def is_failing(self) -> bool:
        """True if its last check failed, or its breaker is not closed."""
        return self.health.is_failing or not self.breaker.is_closed


class Attempt:
    """One request to a target, from its choice to the last byte of the answer: it begins when it is made.

    It is told of the answer. An exception that leaves the block tells the rest: a transport's error is a
    failure, if it is the target's; anything else that breaks it off, such as a client that hangs up, is not.
    """

    __slots__ = ("_is_trial", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        target.busy += 1
        self._is_trial = target.breaker.enter()

    def __enter__(self) -> Self:
        return self

    def answered(self, status: int) -> None:
        """The head of an answer is there: it decides about a target on trial, however long its body takes."""
        target = self.target
        if status in target.failing:
            target.breaker.failed(target.monotonic(), trial=self._is_trial)
        else:
            target.breaker.succeeded(trial=self._is_trial)
        self._is_trial = False

    def completed(self, status: int) -> None:
        """The whole answer is there: ``answered`` and ``ended`` in one."""
        self.target.busy -= 1
        if self._is_trial or status in self.target.failing:
            self.answered(status)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ended(error)

    def ended(self, error: BaseException | None = None) -> None:
        """The answer is complete, or broke off with ``error``."""
        self.target.busy -= 1
        breaker = self.target.breaker
        if isinstance(error, httpx.TransportError) and is_failure_of_target(error):
            breaker.failed(self.target.monotonic(), trial=self._is_trial)
        else:
            # After an answer this is no trial any more, and withdraws nothing.
            breaker.withdrawn(trial=self._is_trial)
