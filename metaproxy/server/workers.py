"""Several processes behind one listener: started, watched, replaced, stopped together."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

import structlog

logger = structlog.get_logger("metaproxy")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
QUICK_DEATH_SECONDS = 2.0
MAX_QUICK_DEATHS = 5


class Supervisor:
    """Keeps ``count`` processes that run ``work(number)`` alive until it is told to stop.

    A worker that dies is replaced. Workers that keep dying right after their start are given up: the
    exit code is then 1, and whatever started the process decides. SIGTERM and SIGINT stop all workers,
    SIGHUP is passed on. ``at_stop`` is called before the workers are told to stop.
    """

    def __init__(
        self, count: int, work: Callable[[int], int], *, at_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._count = count
        self._work = work
        self._at_stop = at_stop
        # Workers inherit the listeners, so they are forked: this process has no threads and no loop.
        self._context = multiprocessing.get_context("fork")
        self._workers: dict[int, tuple[BaseProcess, float]] = {}
        self._stopping = False
        self._quick_deaths = 0

    def run(self) -> int:
        """Run until stopped; return the exit code."""
        for signal_number in SIGNALS:
            signal.signal(signal_number, self._pass_on)
        for number in range(self._count):
            self._start(number)
        while self._workers:
            wait([worker.sentinel for worker, _ in self._workers.values()])
            self._replace_dead()
        return 1 if self._quick_deaths >= MAX_QUICK_DEATHS else 0

    def _start(self, number: int) -> None:
        # A signal between the fork and the entry in the table would miss the worker, which then outlives us.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if not self._stopping:
                worker = self._context.Process(target=self._child, args=(number,), name=f"metaproxy-{number}")
                worker.start()
                self._workers[number] = (worker, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _child(self, number: int) -> None:
        for signal_number in SIGNALS:
            signal.signal(signal_number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker can reload
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        raise SystemExit(self._work(number))

    def _replace_dead(self) -> None:
        for number, (worker, started) in list(self._workers.items()):
            if worker.is_alive():
                continue
            del self._workers[number]
            if self._stopping:
                continue
            quick = time.monotonic() - started < QUICK_DEATH_SECONDS
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            logger.error("a worker died", worker=number, exit_code=worker.exitcode)
            if self._quick_deaths >= MAX_QUICK_DEATHS:
                self._stop(signal.SIGTERM)
            else:
                self._start(number)

    def _pass_on(self, signal_number: int, _frame: FrameType | None) -> None:
        if signal_number == signal.SIGHUP:
            self._signal_all(signal_number)
        else:
            self._stop(signal_number)

    def _stop(self, signal_number: int) -> None:
        self._stopping = True
        self._at_stop()
        self._signal_all(signal_number)

    def _signal_all(self, signal_number: int) -> None:
        for worker, _ in self._workers.values():
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, signal_number)
