"""``metaproxy purge``: stored answers forgotten, in every replica."""

from typing import Annotated

import typer

from metaproxy.cli.admin import DEFAULT_URL, AdminUrl, change_or_exit, others
from metaproxy.cli.answers import Purged
from metaproxy.cli.terminal import say
from metaproxy.protocol.paths import is_path

Image = Annotated[str, typer.Option(metavar="ID", help="Everything of an image.")]
Tenant = Annotated[str, typer.Option(metavar="ID", help="Everything of a project.")]
Path = Annotated[str, typer.Option(metavar="PATH", help="Every answer for one path.")]
All = Annotated[bool, typer.Option("--all", help="Everything.")]


def register(application: typer.Typer) -> None:
    """Add the command to ``application``."""
    application.command()(purge)


def purge(
    image: Image = "",
    tenant: Tenant = "",
    path: Path = "",
    everything: All = False,
    url: AdminUrl = DEFAULT_URL,
) -> None:
    """Forget stored answers, in every replica: of one image, one project, one path, or all."""
    what = {"image": image, "tenant": tenant, "path": path, "all": everything}
    asked = {name: value for name, value in what.items() if value}
    if len(asked) != 1:
        raise typer.BadParameter("give one of --image, --tenant, --path and --all")
    if path and not is_path(path):
        raise typer.BadParameter("a path begins with / and has no query, because every query of it is purged")
    answer = change_or_exit(url, "/cache/purge", asked, Purged)
    say(f"purged {answer['purged']} answers here; {others(answer)}")
