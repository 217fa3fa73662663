"""Loads metaproxy while nobody reads its logs: ``python -m tests.bench.stalled --seconds 60``.

Standard output and standard error are full FIFOs from the start. Printed at the end: requests answered, by
wrk and by the proxy itself; answers that are not 2xx; lines dropped; ``/healthz`` meanwhile; and the seconds
from SIGTERM to the end of the process. Exit 1 if a request was lost or /healthz or SIGTERM went unanswered.
"""

import argparse
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from metaproxy.demo.world import RED
from tests.bench.load import Counts, Load
from tests.bench.population import Request
from tests.bench.servers import Server
from tests.e2e.deployment import CACHE, ITEM
from tests.e2e.processes import demo_service
from tests.e2e.stalled import LoggingProxy, logging_proxy
from tests.ports import HeldPorts

CONNECTIONS = 16
LOOK_SECONDS = 0.5
TOKEN = "a-token"
IDENTITY: dict[str, object] = {
    "provider": "static",
    "tokens": [{"token": TOKEN, "user": {"id": "u"}, "project": {"id": RED.id}}],
}


@dataclass
class Looks:
    """Answers of ``/healthz`` during the load, in seconds, and how many looks had none."""

    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0


@dataclass(frozen=True)
class Findings:
    """What was measured. ``ended`` is how many requests the proxy counts."""

    counts: Counts
    ended: int
    looks: Looks
    dropped: dict[str, int]
    exit_status: int
    stop_seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost. Requests that run when wrk ends are counted by the proxy alone."""
        counts = self.counts
        all_answered = 0 <= self.ended - counts.requests <= CONNECTIONS
        clean = not counts.status_errors and not counts.socket_errors and all_answered
        return clean and not self.looks.unanswered and self.exit_status == 0

    def __str__(self) -> str:
        """The findings as lines."""
        counts, looks = self.counts, self.looks
        return "\n".join(
            [
                f"answered: {counts.requests} in {counts.microseconds / 1e6:.1f} s, as wrk counts; "
                f"{self.ended} as the proxy counts, with at most {CONNECTIONS} that ran at the end",
                f"not 2xx: {counts.status_errors}; broken connections: {counts.socket_errors}; "
                f"p99 {counts.p99 / 1000:.1f} ms, longest {counts.max / 1000:.1f} ms",
                f"lines dropped: {self.dropped['access']} of the access log, {self.dropped['event']} events",
                f"/healthz: {len(looks.seconds)} answers, {looks.unanswered} missing, "
                f"slowest {1000 * max(looks.seconds, default=0):.1f} ms",
                f"SIGTERM: exit {self.exit_status} after {self.stop_seconds:.2f} s",
            ]
        )


def main() -> int:
    """Measure, print, and return 1 if something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stalled", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long the load lasts (60)")
    found = measure(parser.parse_args().seconds)
    print(found)
    return 0 if found.is_good else 1


def measure(seconds: int) -> Findings:
    """Load a proxy with full FIFOs for ``seconds``."""
    with (
        tempfile.TemporaryDirectory(prefix="mp-") as name,
        HeldPorts() as port,
        demo_service("compute", Path(name)) as compute,
        full_fifo(Path(name) / "out") as out,
        full_fifo(Path(name) / "err") as err,
        logging_proxy(
            Path(name),
            out,
            err,
            server={"listen": f"127.0.0.1:{port.first}"},
            upstream={"targets": [compute]},
            identity=IDENTITY,
            cache=dict(CACHE),
            store={},
        ) as proxy,
    ):
        load = Load([Request(ITEM, TOKEN)], CONNECTIONS, Path(name), core=None)
        server = Server("metaproxy", port.first, proxy.process.pid)
        with looking(proxy) as looks:
            counts = load.run(server, seconds)
        dropped = {log: proxy.dropped(log) for log in ("access", "event")}
        ended = requests_ended(proxy)
        begun = time.monotonic()
        return Findings(counts, ended, looks, dropped, proxy.terminate(), time.monotonic() - begun)


@contextmanager
def full_fifo(path: Path) -> Iterator[int]:
    """A FIFO that takes not one byte more: its writing end, and a reader that does not read."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    filling = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    with suppress(BlockingIOError):
        while True:
            os.write(filling, b"\n")
    os.close(filling)
    try:
        yield writer
    finally:
        os.close(writer)
        os.close(reader)


@contextmanager
def looking(proxy: LoggingProxy) -> Iterator[Looks]:
    """Ask for ``/healthz`` again and again during the block."""
    looks, over = Looks(), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            begun = time.monotonic()
            try:
                proxy.operator("/healthz").raise_for_status()
            except httpx.HTTPError:
                looks.unanswered += 1
            else:
                looks.seconds.append(time.monotonic() - begun)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def requests_ended(proxy: LoggingProxy) -> int:
    """Return how many requests have ended, as the proxy counts them."""
    text = proxy.operator("/metrics").text
    numbers = re.findall(r"^metaproxy_requests_total\{.*\} ([0-9.e+]+)$", text, re.MULTILINE)
    return int(sum(map(float, numbers)))


if __name__ == "__main__":
    sys.exit(main())
