"""``metaproxy demo``: compute API, identity service and the real proxy, each a process, until Ctrl-C.

The proxy is ``metaproxy serve`` with a configuration file, nothing special: what the demo shows is what
an operator gets.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio import TaskGroup
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Final, cast

import httpx

from metaproxy.demo.children import Child, DemoError
from metaproxy.demo.session import session
from metaproxy.demo.settings import write_settings
from metaproxy.telemetry.console import escaped

READY_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05


def main(port: int | None = None, admin_port: int | None = None) -> int:
    """Run the demo until SIGINT or SIGTERM; return the exit status.

    Args:
        port: where the proxy listens on 127.0.0.1; None takes a free port.
        admin_port: where the operator's listener listens; None takes a free port.
    """
    status = 0
    try:
        with ExitStack() as held:
            asyncio.run(_run(*(_hold(wanted, held) for wanted in (port, admin_port))))
    except* DemoError as errors:
        print(f"metaproxy demo: {escaped(str(_first(errors)))}", file=sys.stderr)  # noqa: T201 - the terminal is its interface
        status = 1
    return status


async def _run(port: int, admin_port: int) -> None:
    """Run the deployment until a signal cancels it; a child that ends before that raises DemoError."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cast("asyncio.Task[None]", asyncio.current_task()).cancel)
    with suppress(asyncio.CancelledError):
        async with AsyncExitStack() as stack, TaskGroup() as watch:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metaproxy-demo-")))
            text = await _deploy(Deployment(stack, watch), folder, port, admin_port)
            print(text, flush=True)  # noqa: T201 - the terminal is its interface


class Deployment:
    """Starts children; ``stack`` stops them at the end, the last one first, ``watch`` sees them end."""

    def __init__(self, stack: AsyncExitStack, watch: TaskGroup) -> None:
        self._stack = stack
        self._watch = watch

    async def start(self, name: str, module: str, *arguments: str, announces: bool = False) -> Child:
        """Start ``python -m module arguments``."""
        child = await Child.start(name, module, *arguments, announces=announces)
        self._stack.push_async_callback(child.stop)
        self._watch.create_task(child.must_run())
        return child


async def _deploy(deployment: Deployment, folder: Path, port: int, admin_port: int) -> str:
    """Start everything in order, wait until the proxy answers, and return what to tell the user."""
    proxy, admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}"
    compute = await deployment.start("compute API", "metaproxy.demo.compute", announces=True)
    identity = await deployment.start(
        "identity service", "metaproxy.demo.identity", "--compute-url", f"{proxy}/v2.1", announces=True
    )
    compute_url, identity_url = await compute.url(), await identity.url()
    settings = write_settings(
        folder, port=port, admin_port=admin_port, compute_url=compute_url, identity_url=identity_url
    )
    await deployment.start("proxy", "metaproxy", "serve", "--config", str(settings))
    await _until_ready(proxy)
    return session(proxy=proxy, admin=admin, compute=compute_url)


async def _until_ready(proxy: str) -> None:
    """Wait until the proxy brings an answer of the compute API."""
    async with httpx.AsyncClient() as client:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await _answers(client, f"{proxy}/"):  # noqa: ASYNC110 - another process's event
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise DemoError(f"the proxy was not ready after {READY_SECONDS:.0f} seconds") from error


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    with suppress(httpx.TransportError):
        return (await client.get(url)).is_success
    return False


def _hold(wanted: int | None, held: ExitStack) -> int:
    """Return the port ``wanted``, or a free one, bound by us until ``held`` ends.

    The proxy shares the port, because its socket and ours have SO_REUSEADDR and ours does not listen. No
    other process can take the port meanwhile. Raises DemoError if another process listens on it.
    """
    socket_ = held.enter_context(socket.socket())
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        socket_.bind(("127.0.0.1", wanted or 0))
    except OSError as error:
        raise DemoError(f"port {wanted} cannot be listened on: {os.strerror(error.errno or 0)}") from error
    port: int = socket_.getsockname()[1]
    return port


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
