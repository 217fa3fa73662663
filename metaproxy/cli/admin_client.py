"""Calls to the admin listener of a running proxy, found through its configuration."""

from typing import Any, NoReturn

import httpx
import typer

from metaproxy.config import Config
from metaproxy.config.addresses import ListenAddress

EXIT_REFUSED = 1
TIMEOUT = 10.0
"""Seconds for one call."""
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def post_or_exit(
    config: Config, path: str, body: dict[str, Any], transport: httpx.BaseTransport | None = None
) -> dict[str, Any]:
    """POST ``body`` to ``path`` of the admin listener and return its answer.

    Says on stderr why it could not be done, and exits with 1. ``transport`` carries the call, by default
    to the first address on which ``config`` lets the admin listener listen.
    """
    if not config.admin.listen:
        _exit("the configuration has no admin listener (admin.listen is [])")
    address = config.admin.listen[0]
    token = config.admin.token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    carrier = transport or httpx.HTTPTransport(uds=address.path or None)
    with httpx.Client(transport=carrier, base_url=_url(address), timeout=TIMEOUT) as client:
        try:
            response = client.post(path, json=body, headers=headers)
        except httpx.TransportError as error:
            _exit(f"the admin listener on {address} does not answer: {error}")
    if not response.is_success:
        _exit(f"the admin listener refused: {response.status_code} {_reason(response)}")
    answer: dict[str, Any] = response.json()
    return answer


def _url(address: ListenAddress) -> str:
    if address.path:
        return "http://localhost"
    return f"http://{ListenAddress(_EVERY_INTERFACE.get(address.host, address.host), address.port)}"


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json().get("error", ""))
    except (ValueError, AttributeError):
        return ""


def _exit(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_REFUSED)
