"""``metaproxy top``: how a running metaproxy does, live, until Ctrl-C."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from metaproxy.cli.admin import DEFAULT_URL, AdminClient, AdminError, AdminUrl, admin, leave, understood
from metaproxy.cli.answers import Look
from metaproxy.cli.status import duration, hit_ratio, one_of_several
from metaproxy.telemetry.console import shown

Seconds = Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")]
Looks = Annotated[int, typer.Option(min=0, help="Stop after so many looks; 0 goes on.")]


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command()(top)


def top(url: AdminUrl = DEFAULT_URL, interval: Seconds = 2.0, count: Looks = 0) -> None:
    """Show how a running metaproxy does, live."""
    client = admin(url)
    try:
        _watch(client, url, interval, count)
    except AdminError as error:
        raise leave(error) from None
    except KeyboardInterrupt:
        raise typer.Exit from None


def _watch(client: AdminClient, url: str, interval: float, count: int) -> None:
    console = Console()
    before = _look(client, url)
    if not console.is_terminal:  # a Live would print the last look alone, and that only at the end
        for look in _looks(client, url, before, interval, count):
            console.print(look)
            sys.stdout.flush()
        return
    with Live(view(before, before), console=console, auto_refresh=False) as live:
        for look in _looks(client, url, before, interval, count):
            live.update(look, refresh=True)


def _looks(
    client: AdminClient, url: str, before: Look, interval: float, count: int
) -> Iterator[RenderableType]:
    looks = 0
    while not count or looks < count:
        time.sleep(interval)
        after = _look(client, url)
        yield view(before, after)
        before = after
        looks += 1


def _look(client: AdminClient, url: str) -> Look:
    return understood(shown(client.read("/status")), Look, url)


def view(before: Look, after: Look) -> RenderableType:
    """Return what two answers of ``/status``, escaped, say about the time between them."""
    return Group(_headline(before, after), _outcomes(before, after), _consumers(after), _targets(after))


def _headline(before: Look, after: Look) -> Text:
    state, style = ("ready", "bold green") if after["ready"] else ("not ready", "bold red")
    ratio = hit_ratio(grown(before["requests"], after["requests"]))
    text = Text.assemble(f"metaproxy {after['version']} ", (state, style))
    text.append(f"{one_of_several(after)}  up {duration(after['uptime_seconds'])}")
    text.append(f"  configuration {after['generation']}")
    text.append(f"  hit ratio {'–' if ratio is None else f'{ratio:.1%}'}")
    return text


def _outcomes(before: Look, after: Look) -> Table:
    table = _table("outcome", "per second", "p50", "p95", "p99", "since the start")
    seconds = after["now"] - before["now"]
    requests = grown(before["requests"], after["requests"])
    for outcome, number in after["requests"].items():
        counts = _counts(before, after, outcome)
        rate = requests[outcome] / seconds if seconds else 0.0
        at = [
            _milliseconds(percentile(after["latency_bounds"], counts, share)) for share in (0.5, 0.95, 0.99)
        ]
        table.add_row(outcome, f"{rate:.1f}", *at, f"{number}")
    return table


def _counts(before: Look, after: Look, outcome: str) -> list[int]:
    """Return how many requests between two looks fell into each class of duration."""
    earlier, later = (
        look["latency"][outcome]["counts"] if outcome in look["latency"] else [] for look in (before, after)
    )
    return [more - less for less, more in zip_longest(earlier, later, fillvalue=0)]


def _consumers(after: Look) -> Table:
    table = _table("consumer", "requests", "refused")
    for each in after["consumers"]:
        style = "red" if each["refusals"] else ""
        table.add_row(Text(each["consumer"]), f"{each['requests']}", f"{each['refusals']}", style=style)
    return table


def _targets(after: Look) -> Table:
    table = _table("upstream", "health", "breaker", "active")
    for each in after["upstream"]:
        health = "healthy" if each["healthy"] else "unhealthy"
        style = "" if each["healthy"] and each["breaker"] == "closed" else "red"
        table.add_row(Text(each["name"]), health, each["breaker"], f"{each['active_requests']}", style=style)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(first, min_width=24)
    for name in others:
        table.add_column(name, justify="right")
    return table


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each number has grown."""
    return {name: number - before.get(name, 0) for name, number in after.items()}


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the seconds below which a ``share`` of requests took, interpolated; None for no requests."""
    left = share * sum(counts)
    if left <= 0:
        return None
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if left <= count:
            return min(lower + (bound - lower) * left / count, bound)  # rounding may lead past it
        left -= count
        lower = bound
    return lower


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.2g} ms"
