"""``metaproxy hash-token`` and ``metaproxy revoke``. Neither takes a token as an argument.

Arguments of a command are seen by every user of the machine and kept in the shell's history, so tokens
come from standard input, or are typed without being shown.
"""

import secrets
import sys
from typing import Annotated

import typer

from metaproxy.cli.admin import DEFAULT_URL, AdminUrl, change_or_exit, others
from metaproxy.cli.answers import Revoked
from metaproxy.cli.terminal import say
from metaproxy.identity.digests import hash_token

TOKEN_BYTES = 32


def register(application: typer.Typer) -> None:
    """Add the commands to ``application``."""
    application.command("hash-token")(print_hash)
    application.command()(revoke)


def print_hash(
    new: Annotated[bool, typer.Option("--new", help="Make a new random token and print it too.")] = False,
) -> None:
    """Print the hash of a token (read from standard input), for token_hash in the configuration."""
    token = secrets.token_urlsafe(TOKEN_BYTES) if new else _read_token()
    if new:
        say(f"token: {token}")
    say(f"token_hash: {hash_token(token)}" if new else hash_token(token))


def revoke(
    token: Annotated[
        bool, typer.Option("--token", help="Revoke one token, read from standard input.")
    ] = False,
    audit_id: Annotated[str, typer.Option(help="Revoke the token that has this audit id.")] = "",
    user_id: Annotated[str, typer.Option(help="Ask anew about every token of this user.")] = "",
    project_id: Annotated[str, typer.Option(help="Ask anew about every token of this project.")] = "",
    domain_id: Annotated[str, typer.Option(help="Ask anew about every token of this domain.")] = "",
    url: AdminUrl = DEFAULT_URL,
) -> None:
    """Forget what is known of tokens, in every replica; a token named by itself stays rejected."""
    body = {"audit_id": audit_id, "user_id": user_id, "project_id": project_id, "domain_id": domain_id}
    named = {name: value for name, value in body.items() if value}
    if token == bool(named):
        raise typer.BadParameter("give either --token or at least one of the ids")
    answer = change_or_exit(url, "/tokens/revoke", {"token": _read_token()} if token else named, Revoked)
    say(f"revoked: this process knew {answer['forgotten']} such tokens; {others(answer)}")


def _read_token() -> str:
    if sys.stdin.isatty():
        token: str = typer.prompt("Token", hide_input=True)
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise typer.BadParameter("standard input holds no token")
    return token.strip()
