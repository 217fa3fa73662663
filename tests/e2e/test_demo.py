"""``metaproxy demo``: what it prints works when pasted, and it leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, ServerProcess, accepts, descendants, gone, wait_until
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

READY = "Ctrl-C here stops everything."
PASTED = {
    "A metadata item, through every stage": ['{"meta": {"label": "Updated"}}', "HTTP/1.1 200"],
    "Again: from memory": ['{"meta": {"label": "Updated"}}', "age: ", "metaproxy; hit"],
    "The compute API was asked for it once": ['/metadata/label": 1'],
    "A write through the proxy": ['{"meta": {"label": "Changed"}}', "HTTP/1.1 200"],
    "… is seen by the very next read": ['{"meta": {"label": "Changed"}}'],
    "Another tenant": ["HTTP/1.1 403", '"forbidden"'],
    "No token": ["HTTP/1.1 401", 'keystone uri="http'],
    "A method that the item does not have": ["HTTP/1.1 405", "allow: "],
    "Over the rate": ["HTTP/1.1 200", "HTTP/1.1 413", "retry-after: ", '"overLimit"'],
    "Where a consumer stands": ['"maxImageMeta"', '"rate"'],
    "For the operator": ["HTTP/1.1 200", "metaproxy_"],
}
"""The beginning of a step's title, and what its command must print (header names in any case)."""


@contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[ServerProcess]:
    demo = ServerProcess(["metaproxy", "demo", *arguments], folder / "demo.log")
    try:
        demo.until(lambda: READY in demo.output)
        yield demo
    finally:
        demo.stop()


def pasted(text: str) -> dict[str, str]:
    """Paste the commands of a session into one shell; return what each printed, by its title."""
    exports = "\n".join(line for line in text.splitlines() if line.startswith("export "))
    lines = text.splitlines()
    printed = {}
    for title, command in pairwise(lines):
        if title.startswith("# "):
            run = subprocess.run(
                ["bash", "-c", f"{exports}\n{command}"],
                capture_output=True,
                text=True,
                timeout=300,
                check=True,
            )
            printed[title.removeprefix("# ")] = run.stdout
    return printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="the session is written for curl")
def test_every_line_that_it_prints_shows_what_its_title_says(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        session = demo.output[: demo.output.index("metaproxy_") if "metaproxy_" in demo.output else None]
        printed = pasted(session)
    assert len(printed) == len(PASTED)
    for (title, output), (beginning, shown) in zip(printed.items(), PASTED.items(), strict=True):
        assert title.startswith(beginning)
        for text in shown:
            assert text.lower() in output.lower(), f"{title}: {text!r} is not in\n{output}"


def test_it_listens_where_it_is_told(tmp_path: Path) -> None:
    with HeldPorts(2) as held:
        port, admin_port = held.numbers
        with running_demo(tmp_path, "--port", str(port), "--admin-port", str(admin_port)) as demo:
            assert f"http://127.0.0.1:{port}/v2.1/" in demo.output
            assert accepts(port)
            assert accepts(admin_port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path) as demo:
        started = descendants(demo.process.pid)
        assert len(started) == 3
        demo.process.send_signal(number)
        assert demo.wait() == 0
        assert all(gone(child) for child in started)
        assert "Traceback" not in demo.output


def test_its_children_end_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        started = descendants(demo.process.pid)
        demo.process.kill()
        demo.wait()
        wait_until(lambda: all(gone(child) for child in started), what="the children to end")


def test_a_child_that_dies_ends_it_with_a_word(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        compute = descendants(demo.process.pid)[0]
        os.kill(compute, signal.SIGKILL)
        assert demo.wait() == 1
        assert "metaproxy demo: the compute API has ended with status -9" in demo.output
        assert "Traceback" not in demo.output


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        run = subprocess.run(
            [sys.executable, "-m", "metaproxy", "demo", "--port", str(port)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr == f"metaproxy demo: port {port} cannot be listened on: Address already in use\n"
