"""The admin listener of a running metaproxy, as the commands ask it."""

import json
import os
from typing import Annotated, Any

import httpx
import typer

from metaproxy.cli.terminal import say
from metaproxy.telemetry.console import shown

DEFAULT_URL = "http://127.0.0.1:9774"
URL_VARIABLE = "METAPROXY_ADMIN"
TOKEN_VARIABLE = "METAPROXY_ADMIN_TOKEN"  # noqa: S105 - a variable's name
TIMEOUT_SECONDS = 15.0

EXIT_REFUSED = 1
EXIT_NOT_REACHED = 3

AdminUrl = Annotated[
    str,
    typer.Option(
        "--admin",
        envvar=URL_VARIABLE,
        metavar="URL",
        help=f"The admin listener: host:port or unix:/path. Its token is read from {TOKEN_VARIABLE}.",
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


class AdminError(Exception):
    """The admin listener refused, or could not be reached."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class AdminClient:
    """Asks one admin listener.

    Args:
        url: ``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:/path``.
        token: the Bearer token, "" for none.
    """

    def __init__(self, url: str, token: str = "") -> None:
        if not url.startswith("unix:") and "://" not in url:
            url = f"unix:{url}" if url.startswith("/") else f"http://{url}"
        self.url = url
        self._has_token = bool(token)
        socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        headers = {"accept": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            base_url="http://localhost" if socket else url,
            transport=httpx.HTTPTransport(uds=socket),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # a proxy of the environment is not meant for the operator's own machine
        )

    def read(self, path: str, **query: Any) -> Any:
        """Return what ``path`` answers; raises AdminError."""
        return self._ask("GET", path, params=query)

    def change(self, path: str, asked: dict[str, Any]) -> Any:
        """Ask for a change, and return the answer; raises AdminError."""
        return self._ask("POST", path, json=asked)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            response = self._client.request(method, path, **content)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise AdminError(
                f"{self.url} cannot be reached: {error}; --admin or {URL_VARIABLE} names another listener",
                EXIT_NOT_REACHED,
            ) from error
        if response.status_code == 401:
            if self._has_token:
                problem = f"refuses the token in {TOKEN_VARIABLE}: it is not the admin.token in use"
            else:
                problem = f"needs its token: set {TOKEN_VARIABLE}"
            raise AdminError(f"{self.url} {problem}", EXIT_REFUSED)
        try:
            answer = response.json()
        except json.JSONDecodeError:
            answer = {"error": "no answer of metaproxy's admin listener"}
        if response.is_success:
            return answer
        answer = shown(answer)
        raise AdminError("\n".join([answer.get("error", ""), *answer.get("problems", ())]), EXIT_REFUSED)


def admin(url: str) -> AdminClient:
    """Return a client for the listener at ``url``, with the token of the environment."""
    return AdminClient(url, os.environ.get(TOKEN_VARIABLE, ""))


def change_or_exit(url: str, path: str, asked: dict[str, Any]) -> Any:
    """Ask the listener at ``url`` for a change and return its answer, escaped; else say why not, and exit."""
    try:
        return shown(admin(url).change(path, asked))
    except AdminError as error:
        raise leave(error) from None


def leave(error: AdminError) -> typer.Exit:
    """Tell ``error`` on stderr, and return what ends the command."""
    say(f"metaproxy: {error}", err=True)
    return typer.Exit(error.exit_code)
