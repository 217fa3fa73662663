"""Every error that nothing catches is one line of the event log, with its traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PROGRAM = """
import asyncio, sys, threading, warnings
from metaproxy.tasks import TaskSet
from metaproxy.telemetry import logs, standard

def fail(*_):
    raise ValueError("broken\\nin two lines")

class Dropped:
    __del__ = fail

async def failing():
    fail()

async def of_a_task_that_is_held():
    await asyncio.wait([TaskSet().start(failing(), name="held")])

async def of_a_task_that_is_dropped():
    task = asyncio.get_running_loop().create_task(failing())
    await asyncio.sleep(0.01)
    del task

async def of_a_callback():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0.01)

def of_a_thread():
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()

def of_a_finalizer():
    Dropped()

with standard.taken_over():
    logs.configure("json", "info")
    run = globals()[sys.argv[1]]
    if asyncio.iscoroutinefunction(run):
        with asyncio.Runner() as runner:
            runner.run(run())
    else:
        run()
"""


def told(kind: str) -> tuple[str, str]:
    """What a process prints in which an error occurs, to standard output and to standard error."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    return result.stdout, result.stderr


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("of_a_task_that_is_held", "background task failed"),
        ("of_a_task_that_is_dropped", "Task exception was never retrieved"),
        ("of_a_callback", "Exception in callback"),
        ("of_a_thread", "unhandled exception"),
        ("of_a_finalizer", "unhandled exception"),
        ("fail", "unhandled exception"),
    ],
)
def test_an_error_that_nothing_catches_is_one_line_with_its_traceback(kind: str, event: str) -> None:
    output, errors = told(kind)

    (line,) = errors.splitlines()
    read = json.loads(line)
    assert output == ""
    assert read["event"].startswith(event)
    assert read["level"] in {"error", "critical"}
    assert "Traceback (most recent call last)" in read["exception"]
    assert "ValueError: broken\nin two lines" in read["exception"]
