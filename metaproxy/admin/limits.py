"""``/limits``: the limits that are held, who sends most, and a new start for one consumer."""

from typing import Annotated

import msgspec

from metaproxy.admin.operation import Operation, Refusal
from metaproxy.admin.service import Service
from metaproxy.protocol.limits.consumers import TEXT_PATTERN
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.store.unavailable import StoreUnavailable


class Rule(msgspec.Struct):
    """A rate that is held; empty ``methods`` and ``groups`` are all of them."""

    name: str
    limit: int
    unit: str
    burst: int
    path: str
    methods: list[str]
    per: list[str]
    groups: list[str]


class Concurrent(msgspec.Struct):
    """How many requests of one consumer may run at once, and how many run now of all consumers.

    ``shared`` is true if the limit holds over all processes. ``running`` and ``slots`` are of this process;
    ``slots`` is how many of its requests have a slot in the store.
    """

    per: str
    max: int
    shared: bool
    running: int
    slots: int


class Consumer(msgspec.Struct):
    """The requests that one consumer sent through this process in the last one to two minutes."""

    consumer: str
    requests: int
    refusals: int


class Limits(msgspec.Struct):
    """The limits that are held, and the consumers that send most through this process, busiest first."""

    rules: list[Rule]
    concurrent: Concurrent | None
    consumers: list[Consumer]


class Asked(msgspec.Struct):
    """How many consumers are told."""

    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20


class Reset(msgspec.Struct, forbid_unknown_fields=True):
    """The consumer whose counters are deleted: what a rate counts per, and its id, as in ``project:<id>``."""

    consumer: Annotated[str, msgspec.Meta(pattern=TEXT_PATTERN)]


class WasReset(msgspec.Struct):
    """How many counters were forgotten."""

    consumer: str
    counters: int


def operations(service: Service) -> list[Operation]:
    """Return the operations on limits."""

    async def show(asked: Asked) -> Limits:
        rules = [rule(each) for each in service.application.rates.rules]
        return Limits(rules, concurrent(service), top(service, asked.top))

    async def reset(asked: Reset) -> WasReset:
        try:
            counters = await service.application.rates.reset(asked.consumer)
        except StoreUnavailable as error:
            raise Refusal(503, "the shared store is away: its counters could not be reset") from error
        return WasReset(asked.consumer, counters)

    return [
        Operation("GET", "/limits", "Show the limits and the busiest consumers.", Limits, show, Asked),
        Operation("POST", "/limits/reset", "Forget every counter of one consumer.", WasReset, reset, Reset),
    ]


def top(service: Service, number: int) -> list[Consumer]:
    """Return the ``number`` busiest consumers of the last one to two minutes."""
    return [Consumer(*count) for count in service.application.rates.top(number)]


def concurrent(service: Service) -> Concurrent | None:
    """Return what is told of the requests that run at once; None if their number has no limit."""
    application = service.application
    section = application.config.limits.absolute.concurrent
    if section is None:
        return None
    shared = application.shared_running
    return Concurrent(
        per=section.per,
        max=section.max,
        shared=shared is not None,
        running=len(application.running),
        slots=len(shared) if shared is not None else 0,
    )


def rule(held: RateRule) -> Rule:
    """Return what is told of a rate."""
    return Rule(
        name=held.name,
        limit=held.limit,
        unit=held.rate.unit,
        burst=held.burst or held.limit,
        path=held.path or held.regex or "",
        methods=sorted(held.counted_methods),
        per=list(held.per),
        groups=list(held.groups),
    )
