"""``metaproxy check``, ``schema`` and ``config show``: a configuration, in a file or in use."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from metaproxy.cli.admin import DEFAULT_URL, AdminError, AdminUrl, admin, leave
from metaproxy.cli.files import load_or_exit
from metaproxy.config import Config, effective
from metaproxy.config.reference import key_reference
from metaproxy.config.sample import sample_configuration
from metaproxy.config.schema import json_schema

File = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.", show_default=False)]
FileOrNone = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="A configuration file; the one in use without.", show_default=False
    ),
]


def register(application: typer.Typer) -> None:
    """Add the commands to ``application``."""
    application.command()(check)
    application.command()(schema)
    group = typer.Typer(no_args_is_help=True, help="Look at a configuration.")
    group.command()(show)
    group.command()(sample)
    application.add_typer(group, name="config")


def check(file: File) -> None:
    """Check a configuration: exit 0, or every error with file, line and key, and exit 2."""
    typer.echo(f"{file}: ok: {summary(load_or_exit(file))}")


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A table of every key instead.")] = False,
) -> None:
    """Print the JSON Schema of the configuration."""
    typer.echo(key_reference() if markdown else json.dumps(json_schema(), indent=2), nl=not markdown)


def show(file: FileOrNone = None, url: AdminUrl = DEFAULT_URL) -> None:
    """Print a configuration with every default filled in and every secret as ***.

    Without FILE it is the one that a running metaproxy uses, asked of its admin listener.
    """
    shown = _in_use(url) if file is None else effective(load_or_exit(file))
    typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)


def sample() -> None:
    """Print a configuration with every key, each explained: a file to start from."""
    typer.echo(sample_configuration(), nl=False)


def _in_use(url: str) -> Any:
    try:
        return admin(url).read("/config")["config"]
    except AdminError as error:
        raise leave(error) from None


def summary(config: Config) -> str:
    """Return in one line what ``config`` makes the proxy do."""
    listeners = ", ".join(map(str, config.server.listen))
    targets = ", ".join(map(str, config.upstream.targets))
    rates, routes = len(config.limits.rates), len(config.cache.routes)
    return (
        f"{listeners} -> {targets}; identity {config.identity.provider}; "
        f"{_count(rates, 'rate rule')}, {_count(routes, 'cache route')}, "
        f"store {'shared' if config.store.url else 'in this process'}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
