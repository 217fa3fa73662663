"""``make soak``: random load, faults everywhere, reloads; at the end everything is accounted for."""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metaproxy.tasks import TaskSet
from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.processes import demo_service
from tests.redis_server import RedisServer
from tests.soak.clients import Clients
from tests.soak.relay import Relay
from tests.soak.vitals import Vitals, exceeded, vitals_of

WARM_UP_SECONDS = 20
CALM_SECONDS = 12
RELOAD_SECONDS = 5
WORKERS = 12


def sections(redis_port: int) -> Sections:
    return {
        "server": {"header_timeout": "2s", "body_timeout": "2s", "idle_timeout": "3s"},
        "upstream": {"timeouts": {"connect": "1s", "read": "2s"}, "breaker": {"open_for": "500ms"}},
        "store": {"url": f"redis://127.0.0.1:{redis_port}/0"},
        "limits": {"rates": [{"name": "all", "per": ["project"], "rate": "1000000/second"}]},
    }


class Soak:
    """One run. ``relays`` stand by name in front of the upstream, identity and Redis."""

    def __init__(self, relays: dict[str, Relay], proxy: Proxy, seed: int) -> None:
        self._relays = relays
        self._proxy = proxy
        self._clients = Clients(proxy.port, chance=random.Random(seed))
        self._tasks = TaskSet()
        self._reloads = 0

    async def run(self, seconds: float) -> int:
        """Warm up, calm down, soak, calm down; report, and return the exit code."""
        start = await self._loaded(asyncio.sleep(WARM_UP_SECONDS))
        for relay in self._relays.values():
            relay.harmful = True
        end = await self._loaded(self._reload_for(seconds))
        return self._report(seconds, start, end)

    async def _loaded(self, meanwhile: Coroutine[Any, Any, None]) -> Vitals:
        """Let clients run while ``meanwhile`` does; return what the process holds once all is calm."""
        self._clients.stopped = False
        for _ in range(WORKERS):
            self._tasks.start(self._clients.run(), name="client")
        await meanwhile
        for relay in self._relays.values():
            relay.harmful = False
        self._clients.stopped = True
        await self._tasks.join()
        await asyncio.sleep(CALM_SECONDS)
        return await self._vitals()

    async def _reload_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(RELOAD_SECONDS):
                await asyncio.sleep(1)
                for relay in self._relays.values():
                    relay.sever()
            self._proxy.server.process.send_signal(signal.SIGHUP)
            self._reloads += 1

    async def _vitals(self) -> Vitals:
        return await asyncio.to_thread(vitals_of, self._proxy.server.process.pid, self._proxy.admin_url)

    def _report(self, seconds: float, start: Vitals, end: Vitals) -> int:
        answers, unexplained = self._clients.answers, self._clients.unexplained
        tracebacks = self._proxy.server.output.count("Traceback")
        print(f"{seconds / 60:.1f} minutes, {answers.total()} requests, {self._reloads} reloads")
        for name, relay in self._relays.items():
            print(f"faults injected in {name}: {dict(sorted(relay.injected.items()))}")
        for kind, count in sorted(answers.items()):
            print(f"  {kind:<28} {count}")
        print(f"start: {start}\nend:   {end}")
        failed = exceeded(start, end)
        if unexplained:
            failed.append(f"{len(unexplained)} answers unexplained, such as {unexplained[:3]}")
        if tracebacks:
            failed.append(f"{tracebacks} tracebacks in the log")
        print("failed: " + "; ".join(failed) if failed else "passed")
        return int(bool(failed))


async def soak(seconds: float, seed: int, folder: Path) -> int:
    """Start everything, run, and end everything."""
    with ExitStack() as stack:
        behind = {
            "upstream": _port(stack.enter_context(demo_service("compute", folder))),
            "identity": _port(stack.enter_context(demo_service("identity", folder))),
            "redis": stack.enter_context(RedisServer()).port,
        }
        chance = random.Random(seed)
        relays = {name: Relay(port, share=0.1, chance=chance) for name, port in behind.items()}
        ports = {name: await relay.start() for name, relay in relays.items()}
        # The proxy's start is waited for in a thread: the relays live in this loop.
        starting = running_proxy(
            folder / "proxy",
            upstream=f"http://127.0.0.1:{ports['upstream']}",
            identity=f"http://127.0.0.1:{ports['identity']}",
            sections=sections(ports["redis"]),
        )
        proxy = await asyncio.to_thread(starting.__enter__)
        try:
            return await Soak(relays, proxy, seed).run(seconds)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
            for relay in relays.values():
                await relay.close()


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} has no port")
    return port


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="metaproxy-soak-") as folder:
        return asyncio.run(soak(arguments.minutes * 60, arguments.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
