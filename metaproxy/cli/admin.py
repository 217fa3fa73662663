"""The admin listener of a running metaproxy, as the commands ask it."""

import json
import os
import ssl
from typing import Annotated, Any, NotRequired, TypedDict, TypeVar

import httpx
import msgspec
import typer

from metaproxy.cli.answers import Purged, Revoked
from metaproxy.cli.terminal import say
from metaproxy.clock import monotonic
from metaproxy.telemetry.console import shown

DEFAULT_URL = "http://127.0.0.1:9774"
URL_VARIABLE = "METAPROXY_ADMIN"
TOKEN_VARIABLE = "METAPROXY_ADMIN_TOKEN"  # noqa: S105 - a variable's name
TIMEOUT_SECONDS = 15.0
BODY_SECONDS = 60.0
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Bounds on an answer, because anything may answer at the address."""

NOT_REACHED = (
    httpx.ConnectError,
    httpx.TimeoutException,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
    OSError,
)
"""Errors that come before an answer; others are about the answer."""

MARK = "metaproxy-admin"
"""The field of every answer of the admin listener: refusals of other servers may look like ours."""

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


T = TypeVar("T")


class AdminError(Exception):
    """The admin listener refused, could not be reached, or is not metaproxy's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Refusal(TypedDict):
    """Why the admin listener refuses."""

    error: str
    problems: NotRequired[list[str]]


class AdminClient:
    """Asks one admin listener.

    Args:
        url: ``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:/path``.
        token: the Bearer token, "" for none.
        seconds: how long it may take to connect, and between two parts of an answer.
    """

    def __init__(self, url: str, token: str = "", seconds: float = TIMEOUT_SECONDS) -> None:
        if not url.startswith("unix:") and "://" not in url:
            url = f"unix:{url}" if url.startswith("/") else f"http://{url}"
        self.url = url
        self._has_token = bool(token)
        self._seconds = seconds
        socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        headers = {b"accept": b"application/json", b"accept-encoding": b"identity", b"connection": b"close"}
        if token:
            headers[b"authorization"] = f"Bearer {token}".encode()
        try:
            self._client = httpx.Client(
                base_url="http://localhost" if socket else url,
                transport=httpx.HTTPTransport(uds=socket, verify=_tls(url)),
                headers=headers,
                timeout=seconds,
                trust_env=False,  # a proxy of the environment is not meant for the operator's own machine
            )
        except httpx.InvalidURL as error:
            raise _not_reached(url, error) from error

    def read(self, path: str, **query: Any) -> Any:
        """Return what ``path`` answers; raises AdminError."""
        return self._ask("GET", path, params=query)

    def change(self, path: str, asked: dict[str, Any]) -> Any:
        """Ask for a change, and return the answer; raises AdminError."""
        return self._ask("POST", path, json=asked)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        try:
            with self._client.stream(method, path, **content) as response:
                body = _body(response)
        except httpx.ReadTimeout as error:
            raise _silent(self.url, self._seconds) from error
        except NOT_REACHED as error:
            raise _not_reached(self.url, error) from error
        except httpx.HTTPError as error:
            raise not_ours(self.url, str(error) or type(error).__name__) from error
        if response.status_code == 401 and MARK in response.headers:
            if self._has_token:
                problem = f"refuses the token in {TOKEN_VARIABLE}: it is not the admin.token in use"
            else:
                problem = f"needs its token: set {TOKEN_VARIABLE}"
            raise AdminError(f"{self.url} {problem}", EXIT_REFUSED)
        if not response.is_success and MARK not in response.headers:
            raise not_ours(self.url, f"the status is {response.status_code}")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise not_ours(self.url, "the answer is not JSON") from error
        if response.is_success:
            return answer
        refusal = shown(understood(answer, Refusal, self.url))
        raise AdminError("\n".join([refusal["error"], *refusal.get("problems", ())]), EXIT_REFUSED)


def understood(answer: Any, shape: type[T], url: str) -> T:
    """Return ``answer`` of the listener at ``url`` as a ``shape``; raises AdminError if it is none."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise not_ours(url, str(error)) from error


def not_ours(url: str, why: str) -> AdminError:
    """Return the error for an answer that metaproxy's admin listener does not give."""
    return AdminError(
        f"{url} is not metaproxy's admin listener, or one of another version: {why.rstrip('.')}; "
        f"--admin or {URL_VARIABLE} names another listener",
        EXIT_NOT_REACHED,
    )


def _tls(url: str) -> ssl.SSLContext:
    """Return what verifies the listener. The authorities of the system take long to load: only for https."""
    if url.startswith("https:"):
        return httpx.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _not_reached(url: str, error: Exception) -> AdminError:
    return AdminError(
        f"{url} cannot be reached: {error}; --admin or {URL_VARIABLE} names another listener",
        EXIT_NOT_REACHED,
    )


def _silent(url: str, seconds: float) -> AdminError:
    return AdminError(
        f"{url} has taken the question and not answered it within {seconds:g} s; if it was to change "
        "something, that may be done still: see the event log",
        EXIT_NOT_REACHED,
    )


def _body(response: httpx.Response) -> bytes:
    """Return the whole body; raises httpx.HTTPError if it is cut short, or has no end."""
    body = bytearray()
    end = monotonic() + BODY_SECONDS
    for part in response.iter_raw():
        body += part
        if len(body) > MAX_BODY_BYTES or monotonic() > end:
            raise httpx.ReadError("the answer has no end")
    return bytes(body)


def admin(url: str) -> AdminClient:
    """Return a client for the listener at ``url``, with the token of the environment."""
    return AdminClient(url, os.environ.get(TOKEN_VARIABLE, ""))


def change_or_exit(url: str, path: str, asked: dict[str, Any], shape: type[T]) -> T:
    """Ask the listener at ``url`` for a change and return its answer, escaped; else say why not, and exit."""
    try:
        return understood(shown(admin(url).change(path, asked)), shape, url)
    except AdminError as error:
        raise leave(error) from None


def others(answer: Purged | Revoked) -> str:
    """Return the words for which other processes made a change as well."""
    if answer.get("replicas_told"):
        return "replicas on the same store are told"
    if answer.get("workers_told"):
        return "all workers are told, and no other replica, because store.url is not set"
    return "no other process is told, because store.url is not set"


def leave(error: AdminError) -> typer.Exit:
    """Tell ``error`` on stderr, and return what ends the command."""
    say(f"metaproxy: {error}", err=True)
    return typer.Exit(error.exit_code)
