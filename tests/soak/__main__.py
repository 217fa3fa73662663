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
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metaproxy.tasks import TaskSet
from tests.e2e.deployment import CACHED, ROUTE, Proxy, Sections, keystone, running_proxy
from tests.e2e.processes import demo_service
from tests.redis_server import RedisServer
from tests.soak import report
from tests.soak.clients import Clients
from tests.soak.relay import Relay
from tests.soak.vitals import Vitals, exceeded, reasons_of, vitals_of

WARM_UP_SECONDS = 20
CALM_SECONDS = 12
RELOAD_SECONDS = 5
WORKERS = 12
TENTHS = 10

MOST_CACHE_BYTES = 4 * 1024 * 1024
MOST = {
    "clients": 0,
    "running": 0,
    "queued": 0,
    "flights": 0,
    "cache bytes": MOST_CACHE_BYTES,
    "tokens": 1000,
    "counters": 1000,
}
"""What may be held at the end. What the configuration bounds has small bounds, so that they are reached."""


def sections(redis_port: int, identity: str) -> Sections:
    return {
        "server": {"header_timeout": "2s", "body_timeout": "2s", "idle_timeout": "3s"},
        "upstream": {"timeouts": {"connect": "1s", "read": "2s"}, "breaker": {"open_for": "500ms"}},
        "identity": keystone(identity) | {"cache": {"ttl": "10s", "max_entries": MOST["tokens"]}},
        "store": {"url": f"redis://127.0.0.1:{redis_port}/0"},
        "cache": {
            "routes": [{"path": path, "ttl": "60s", "negative_ttl": "60s"} for path in CACHED],
            "max_bytes": f"{MOST_CACHE_BYTES}B",
        },
        "limits": {
            "max_counters": MOST["counters"],
            "rates": [
                {"name": "all", "per": ["project"], "rate": "1000000/second"},
                {"name": "keys", "path": f"{ROUTE}/{{key}}", "per": ["key"], "rate": "1000000/second"},
            ],
        },
    }


class Soak:
    """One run. ``relays`` stand by name in front of the upstream, identity and Redis."""

    def __init__(self, relays: dict[str, Relay], proxy: Proxy, seed: int) -> None:
        self._relays = relays
        self._proxy = proxy
        self._clients = Clients(proxy.port, chance=random.Random(seed))
        self._tasks = TaskSet()
        self._chance = random.Random(seed)
        self._reloads = 0
        self._series: list[Vitals] = []

    async def run(self, seconds: float) -> int:
        """Warm up, calm down, soak, calm down; report, and return the exit code."""
        await self._clients.read_every_name()
        start = await self._loaded(asyncio.sleep(WARM_UP_SECONDS))
        self._clients.troubled = True
        for relay in self._relays.values():
            relay.harmful = True
        end = await self._loaded(self._trouble_for(seconds))
        return await self._report(seconds, start, end)

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

    async def _trouble_for(self, seconds: float) -> None:
        """Sever connections, reload, and look at the process at each tenth of the time."""
        begin = time.monotonic()
        for second in count(1):
            await asyncio.sleep(begin + second - time.monotonic())
            # One at a time, so that the others can recover, and what they serve is served.
            self._chance.choice(list(self._relays.values())).sever()
            if second % RELOAD_SECONDS == 0:
                self._proxy.server.process.send_signal(signal.SIGHUP)
                self._reloads += 1
            if second >= seconds * (len(self._series) + 1) / TENTHS:
                self._series.append(await self._vitals())
            if len(self._series) == TENTHS:
                return

    async def _vitals(self) -> Vitals:
        return await asyncio.to_thread(vitals_of, self._proxy.server.process.pid, self._proxy.admin_url)

    async def _report(self, seconds: float, start: Vitals, end: Vitals) -> int:
        answers, output = self._clients.answers, self._proxy.server.output
        reloaded = output.count("configuration reloaded")
        print(f"{seconds / 60:.1f} minutes, {answers.total()} requests, {self._reloads} reloads asked for")
        report.faults({name: relay.injected for name, relay in self._relays.items()})
        report.counted("answers, as the clients got them", answers)
        why = await asyncio.to_thread(reasons_of, self._proxy.admin_url)
        report.counted("answers, as the proxy counted them: status, and reason or outcome", why)
        report.held(start, self._series, end)
        bounds = exceeded(start, self._series, end, MOST)
        bounds.append(
            (f"reloads: at least half of those asked for ({reloaded})", reloaded * 2 < self._reloads)
        )
        return report.verdict(bounds, self._clients.unexplained, output.count("Traceback"))


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
            sections=sections(ports["redis"], f"http://127.0.0.1:{ports['identity']}"),
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
