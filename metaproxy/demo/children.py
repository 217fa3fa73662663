"""The processes of the demo: started on a leash, watched, and stopped in order."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final

from metaproxy.telemetry.console import escaped

STOP_SECONDS: Final = 40.0
"""How long a child may take to drain before it is killed."""


class DemoError(Exception):
    """Why the demo cannot run; the message is one line for the terminal."""


class Child:
    """One process: ``python -m module arguments``."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, module: str, *arguments: str, announces: bool = False) -> "Child":
        """Start a child. One that ``announces`` says its URL on standard output: see ``url``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "metaproxy.demo.leash", module, *arguments),
            stdin=PIPE,
            stdout=PIPE if announces else None,
            # Ctrl-C reaches the whole foreground group: a group of its own lets us stop in order.
            start_new_session=True,
        )
        return cls(name, process)

    async def url(self) -> str:
        """Return the URL that the child announces; raises DemoError where it ends before that."""
        output = self._process.stdout
        line = await output.readline() if output is not None else b""
        if not line:
            await self.must_run()
        return escaped(line.decode(errors="replace").strip())

    async def must_run(self) -> None:
        """Wait for as long as the child runs; raises DemoError when it has ended."""
        status = await self._process.wait()
        raise DemoError(f"the {self.name} has ended with status {status}")

    async def stop(self) -> None:
        """Tell the child to end, and wait; kill it where it takes longer than STOP_SECONDS."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
