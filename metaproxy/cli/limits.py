"""``metaproxy limits``: who sends most, and a new start for one consumer."""

import json
from typing import Annotated

import typer

from metaproxy.cli.admin import (
    DEFAULT_URL,
    AdminError,
    AdminUrl,
    AsJson,
    admin,
    change_or_exit,
    leave,
    understood,
)
from metaproxy.cli.answers import Limits, Reset
from metaproxy.cli.terminal import say
from metaproxy.telemetry.console import escaped, shown

Consumer = Annotated[
    str,
    typer.Argument(help="project:<id>, user:<id>, address:<address> or global:", show_default=False),
]
Number = Annotated[int, typer.Option("--top", min=1, max=1000, help="How many consumers.")]


def register(application: typer.Typer) -> None:
    """Add the commands to ``application``."""
    group = typer.Typer(no_args_is_help=True, help="Look at the limits of a running metaproxy.")
    group.command()(show)
    group.command()(reset)
    application.add_typer(group, name="limits")


def show(url: AdminUrl = DEFAULT_URL, top: Number = 20, as_json: AsJson = False) -> None:
    """Show the rates and the busiest consumers of the last minutes."""
    try:
        answer = admin(url).read("/limits", top=top)
        told = understood(shown(answer), Limits, url)
    except AdminError as error:
        raise leave(error) from None
    if as_json:
        say(json.dumps(answer, indent=2))
        return
    for rule in told["rules"]:
        per = "+".join(rule["per"])
        say(f"{rule['name']}: {rule['limit']}/{rule['unit']} per {per}, {rule['path'] or 'every path'}")
    concurrent = told.get("concurrent")
    if concurrent is not None:
        where = "in all processes together" if concurrent["shared"] else "in each process"
        here = f"{concurrent['running']} run in this one"
        say(f"at once: {concurrent['max']} per {concurrent['per']} {where}; {here}")
    for each in told["consumers"]:
        say(f"{each['requests']:>8} requests {each['refusals']:>8} refused  {each['consumer']}")


def reset(consumer: Consumer, url: AdminUrl = DEFAULT_URL) -> None:
    """Forget every counter of one consumer: all its rates begin anew."""
    answer = change_or_exit(url, "/limits/reset", {"consumer": consumer}, Reset)
    say(f"{escaped(consumer)}: {answer['counters']} counters forgotten")
