"""``metaproxy check``, ``schema`` and ``config show``: a configuration, in a file or in use."""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from metaproxy.cli.admin import DEFAULT_URL, AdminError, AdminUrl, admin, leave, understood
from metaproxy.cli.answers import InUse
from metaproxy.cli.files import EXIT_BAD_CONFIG, load_or_exit, print_problems
from metaproxy.cli.terminal import printable, say
from metaproxy.config import Config, Problem, effective
from metaproxy.config.reference import json_schema, key_reference
from metaproxy.preflight import Report, inspect
from metaproxy.preflight.machine import this_machine

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Configuration files; - is standard input.", show_default=False),
]
STANDARD_INPUT = Path("-")
FileOrNone = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="A configuration file; the one in use without.", show_default=False
    ),
]


def register(application: typer.Typer) -> None:
    """Add the commands to ``application``."""
    application.command()(check)
    for alias in ("validate", "test"):  # the names that others give it
        application.command(alias, hidden=True)(check)
    application.command()(schema)
    group = typer.Typer(no_args_is_help=True, help="Look at a configuration.")
    group.command()(show)
    group.command()(sample)
    application.add_typer(group, name="config")


def check(
    files: Files,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 after warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of all problems.")] = False,
    as_filter: Annotated[
        bool, typer.Option("--filter", help="The files are for the WSGI filter: no listeners, no upstream.")
    ] = False,
) -> None:
    """Check configurations as `serve` does before it binds, with the files and addresses that they name.

    Every error and warning has file, line and key. Exit 0 without errors, else 2.
    """
    reports = [(file, _inspected(file, as_filter=as_filter)) for file in files]
    problems = [problem for _, report in reports for problem in report.problems]
    if as_json:
        say(json.dumps([_as_json(problem) for problem in problems], indent=2))
    else:
        print_problems(problems)
        for file, report in reports:
            if not report.errors:
                say(f"{file}: ok: {summary(report.config, as_filter=as_filter)}")
    if any(report.errors or (strict and report.warnings) for _, report in reports):
        raise typer.Exit(EXIT_BAD_CONFIG)


def _inspected(file: Path, *, as_filter: bool) -> Report:
    content = sys.stdin.buffer.read() if file == STANDARD_INPUT else None
    if not as_filter:
        return inspect(file, content=content)
    from metaproxy.wsgi.filter import IN_PROCESS

    return inspect(file, overrides=IN_PROCESS, content=content, machine=this_machine(binds=False))


def _as_json(problem: Problem) -> dict[str, str | int | None]:
    return {
        "file": problem.file,
        "line": problem.line or None,
        "column": problem.column or None,
        "key": problem.key,
        "severity": problem.severity,
        "message": problem.message,
    }


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
    say(as_yaml(shown), nl=False)


def as_yaml(value: Any) -> str:
    """Return ``value`` as YAML that can be printed and reads back to the same."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if printable(text) == text:
        return text
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False)


def sample() -> None:
    """Print a configuration with every key, each explained: a file to start from."""
    typer.echo(sample_configuration(), nl=False)


def _in_use(url: str) -> Any:
    try:
        return understood(admin(url).read("/config"), InUse, url)["config"]
    except AdminError as error:
        raise leave(error) from None


def summary(config: Config, *, as_filter: bool = False) -> str:
    """Return in one line what ``config`` makes the proxy, or the filter, do."""
    listeners = ", ".join(map(str, config.server.listen))
    targets = ", ".join(map(str, config.upstream.targets))
    rates, routes = len(config.limits.rates), len(config.cache.routes)
    return (
        f"{'filter' if as_filter else f'{listeners} -> {targets}'}; identity {config.identity.provider}; "
        f"{_count(rates, 'rate rule')}, {_count(routes, 'cache route')}, "
        f"store {_store(config, as_filter=as_filter)}"
    )


def _store(config: Config, *, as_filter: bool) -> str:
    if config.store.url is not None:
        return "shared"
    if config.server.workers > 1 and not as_filter:
        return f"shared by {config.server.workers} workers"
    return "in this process"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def sample_configuration() -> str:
    """Return ``config/metaproxy.yaml``, every key explained; a wheel has it inside the package."""
    packaged = files("metaproxy.config") / "metaproxy.yaml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # A checkout, or an editable install of one: hatch copies the file when it builds a wheel.
    return (Path(__file__).parents[2] / "config" / "metaproxy.yaml").read_text(encoding="utf-8")
