"""A proxy whose standard output and standard error are whatever a test wants, and a client for it.

It listens on unix sockets, so that the test finds it without reading what it writes.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.e2e.processes import ROOT, STOP_SECONDS, wait_until
from tests.e2e.starting import Forked

AT_ONCE = 16


class LoggingProxy:
    """``metaproxy serve`` that refuses every request, with 401 or 400, and logs it.

    Args:
        folder: for its configuration and its sockets; a short path.
        stdout, stderr: its descriptors; None for one that is closed.
        sections: of its configuration, besides those that it needs.
    """

    def __init__(
        self, folder: Path, stdout: int | None, stderr: int | None, **sections: dict[str, object]
    ) -> None:
        self.data, self.admin = folder / "d.sock", folder / "a.sock"
        file = folder / "metaproxy.yaml"
        config = {
            "server": {"listen": f"unix:{self.data}", **sections.pop("server", {})},
            "admin": {"listen": f"unix:{self.admin}"},
            "upstream": {"targets": ["unix:/nowhere.sock"]},
            "identity": {
                "provider": "static",
                "tokens": [{"token": "t", "user": {"id": "u"}, "project": {"id": "p"}}],
            },
            # Nothing is shared: it lets several workers start.
            "store": {"url": f"unix://{folder}/no-redis.sock"},
            **sections,
        }
        file.write_text(yaml.safe_dump(config))
        self.process = self._started(["metaproxy", "serve", "--config", str(file)], folder, stdout, stderr)

    def _started(
        self, arguments: list[str], folder: Path, stdout: int | None, stderr: int | None
    ) -> "subprocess.Popen[bytes] | Forked":
        if stdout is not None and stderr is not None:
            return Forked(arguments, folder=folder, stdout=stdout, stderr=stderr)
        # The interpreter itself has to find them closed.
        closing = "".join(f" {number}>&-" for number, end in ((1, stdout), (2, stderr)) if end is None)
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {sys.executable} -m {' '.join(arguments)}{closing}"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    def ask(self, count: int, path: str = "/v2.1/p/images") -> int:
        """Send ``count`` requests for ``path`` over one connection; return how many were answered."""
        request = f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode("ascii")
        answered, received = 0, b""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self.data))
            while answered < count:
                batch = min(AT_ONCE - 1, count - answered)
                client.sendall(request * batch)
                while (found := received.count(b"HTTP/1.1 4")) < batch or not received.endswith(b"}"):
                    data = client.recv(65536)
                    assert data, f"closed after {answered + found} answers"
                    received += data
                answered, received = answered + batch, b""
        return answered

    def operator(self, path: str) -> httpx.Response:
        """Ask the admin listener for ``path``."""
        transport = httpx.HTTPTransport(uds=str(self.admin), verify=False)
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=300) as client:
            return client.get(path)

    def dropped(self, log: str) -> int:
        """Return how many lines of ``log`` were lost, by the metrics."""
        pattern = rf'^metaproxy_log_lines_dropped_total{{log="{log}"}} ([0-9.e+]+)$'
        found = re.search(pattern, self.operator("/metrics").text, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def until_serving(self) -> None:
        """Wait until it answers."""
        wait_until(self._serves, what="the proxy to serve")

    def _serves(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.admin)):
                return False
        return self.operator("/healthz").is_success

    def terminate(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def logging_proxy(
    folder: Path, stdout: int | None, stderr: int | None, **sections: dict[str, object]
) -> Iterator[LoggingProxy]:
    """Run the proxy until the end of the block; it serves when the block begins."""
    proxy = LoggingProxy(folder, stdout, stderr, **sections)
    try:
        proxy.until_serving()
        yield proxy
    finally:
        proxy.stop()


def close_all(descriptors: Sequence[int]) -> None:
    """Close what is still open of ``descriptors``."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue
