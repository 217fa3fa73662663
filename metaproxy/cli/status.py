"""``metaproxy status``: how a running metaproxy does, once, as text or JSON."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from metaproxy.cli.admin import DEFAULT_URL, AdminError, AdminUrl, AsJson, admin, leave, understood
from metaproxy.cli.answers import Look, Status
from metaproxy.cli.terminal import say
from metaproxy.telemetry.console import shown

EXIT_NOT_READY = 1

MEMORY = ("hit", "stale", "revalidated", "collapsed")
"""Outcomes of requests that were answered from memory."""


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command()(status)


Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 also if it is ready but degraded.")]


def status(url: AdminUrl = DEFAULT_URL, as_json: AsJson = False, strict: Strict = False) -> None:
    """Show how a running metaproxy does; exit 0 if it is ready, even degraded, and 1 if it is not."""
    try:
        answer = admin(url).read("/status")
        told = understood(shown(answer), Status, url)
    except AdminError as error:
        raise leave(error) from None
    say(json.dumps(answer, indent=2) if as_json else "\n".join(lines(told)))
    is_good = told["ready"] and not (strict and told.get("degraded"))
    raise typer.Exit(0 if is_good else EXIT_NOT_READY)


def lines(told: Status) -> Iterator[str]:
    """Yield an answer of ``/status`` as lines for eyes."""
    degraded = told.get("degraded", ())
    state = "draining" if told["draining"] else "ready" if told["ready"] else "not ready"
    if degraded:
        state += f", degraded ({', '.join(degraded)})"
    yield f"metaproxy {told['version']}: {state}, up {duration(told['uptime_seconds'])}{one_of_several(told)}"
    for name, check in told["checks"].items():
        verdict = "ok " if check["well"] else "!! " if name in degraded else "BAD"
        yield f"  {verdict} {name:<10} {check['says']}"
    yield from _requests(told)
    for target in told["upstream"]:
        health = "healthy" if target["healthy"] else "UNHEALTHY"
        yield f"  upstream   {target['name']} {health}, breaker {target['breaker']}"
    if (cache := told["cache"]) is not None:
        yield f"  cache      {cache['entries']} answers, {cache['bytes']} of {cache['max_bytes']} bytes"


def one_of_several(told: Status | Look) -> str:
    """Return words for which of several workers has answered; "" for a process alone."""
    workers = told.get("workers", 1)
    return f", worker {told.get('worker', 0)} alone, of {workers}" if workers > 1 else ""


def _requests(told: Status) -> Iterator[str]:
    requests = told["requests"]
    by_outcome = ", ".join(f"{number} {outcome}" for outcome, number in requests.items())
    yield f"  requests   {by_outcome or 'none yet'}"
    ratio = hit_ratio(requests)
    if ratio is not None:
        yield f"  hit ratio  {ratio:.1%}"


def hit_ratio(requests: Mapping[str, float]) -> float | None:
    """Return the share of answers that came from memory; None where there were none."""
    memory = sum(requests.get(outcome, 0) for outcome in MEMORY)
    answers = memory + requests.get("forwarded", 0)
    return memory / answers if answers else None


def duration(seconds: float) -> str:
    """Return a time in its largest whole unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
