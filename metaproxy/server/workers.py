"""Several processes behind one listener: started, watched, replaced, reloaded, stopped together."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NamedTuple

import structlog

from metaproxy.server.messages import Ask, BreakOff, Link, Prepared, Serving
from metaproxy.server.notify import Notifier
from metaproxy.server.rollout import Rollout
from metaproxy.server.source import Generation
from metaproxy.server.stopping import Presses
from metaproxy.server.watch import Watch
from metaproxy.store.hub.hub import Hub

logger = structlog.get_logger("metaproxy")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
QUICK_DEATH_SECONDS = 2.0
MAX_QUICK_DEATHS = 5
FIRST_PAUSE_SECONDS = 0.25
"""How long to wait before a worker is started again that died right after its start. It doubles each time."""
BREAK_OFF_SECONDS = 3.0
"""How long the workers may take to end when they must break off what runs; then they are killed."""
FLUSH_SECONDS = 0.05
"""How soon to try again to send to a worker that does not read."""


class Ends(NamedTuple):
    """The worker's ends of its connections to the supervisor: for configurations, and for shared state."""

    control: socket.socket
    hub: socket.socket


Work = Callable[[int, Generation, Ends], int]
"""Runs a worker, given its number, what it begins with and its connections to the supervisor."""


@dataclass(slots=True)
class _Child:
    """One worker as the supervisor sees it."""

    process: BaseProcess
    link: Link
    started: float
    serves: bool = False


class Supervisor:
    """Keeps ``count`` processes that run ``work`` alive until it is told to stop.

    A worker that dies is replaced by one that begins with the configuration that the others have in use.
    If workers keep dying right after their start, each is started after a longer pause, and then the
    supervisor gives up with the exit code 1. SIGTERM and
    SIGINT stop all workers, a second one breaks off what they are at. SIGHUP reloads. ``at_stop`` is called
    before the workers are told to stop. ``early`` are signals that have come already. ``hub`` is the state
    that workers share; this process serves it while it waits.

    If this process is killed, each worker finds its connection closed and leaves.
    """

    def __init__(
        self,
        count: int,
        work: Work,
        rollout: Rollout,
        *,
        hub: Hub,
        watch: Watch | None = None,
        notifier: Notifier,
        at_stop: Callable[[], None] = lambda: None,
        early: Sequence[int] = (),
    ) -> None:
        self._count = count
        self._work = work
        self._rollout = rollout
        self._hub = hub
        self._watch = watch
        self._notifier = notifier
        self._at_stop = at_stop
        self._early = early
        # Workers inherit the listeners, so they are forked: this process has no threads and no loop.
        self._context = multiprocessing.get_context("fork")
        self._children: dict[int, _Child] = {}
        self._wake, self._woken = socket.socketpair()
        self._presses = Presses()
        self._signals: list[int] = []
        self._stopping = False
        self._kill_at: float | None = None
        self._quick_deaths = 0
        self._pauses: dict[int, float] = {}
        """The workers that are to be started again, and when."""
        self._is_ready = False
        self._next_look = self._next_sign = time.monotonic()

    def run(self) -> int:
        """Run until stopped; return the exit code."""
        for end in (self._wake, self._woken):
            end.setblocking(False)  # noqa: FBT003 - its only argument
        for signal_number in SIGNALS:
            signal.signal(signal_number, self._note)
        self._signals.extend(self._early)
        for number in range(self._count):
            self._start(number)
        while self._children or self._pauses:
            self._wait()
            self._handle_signals()
            for number, child in list(self._children.items()):
                self._hear(number, child)
            self._bury_dead()
            self._start_due()
            self._keep_time()
            self._rollout.advance()
        self._hub.close()
        return 1 if self._quick_deaths >= MAX_QUICK_DEATHS else 0

    def _wait(self) -> None:
        """Serve the hub until something has happened, or is due."""
        now = time.monotonic()
        due = [self._rollout.seconds_left]
        due.append(self._next_look - now if self._watch is not None and not self._stopping else None)
        due.append(self._next_sign - now if self._notifier.alive_every is not None else None)
        due.append(self._kill_at - now if self._kill_at is not None else None)
        due.append(min(self._pauses.values()) - now if self._pauses else None)
        due.append(FLUSH_SECONDS if any(child.link.has_output for child in self._children.values()) else None)
        seconds = min((max(second, 0.0) for second in due if second is not None), default=None)
        sentinels = [child.process.sentinel for child in self._children.values()]
        links = [child.link.fileno() for child in self._children.values() if not child.link.is_closed]
        self._hub.serve([self._woken.fileno(), *sentinels, *links], 0.0 if self._signals else seconds)
        with suppress(BlockingIOError):
            while self._woken.recv(64):
                pass

    def _start(self, number: int) -> None:
        # A signal between the fork and the entry in the table would miss the worker, which then outlives us.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if not self._stopping:
                ours, theirs = socket.socketpair()
                link, ends = Link(ours), Ends(theirs, self._hub.connect())
                process = self._context.Process(
                    target=self._child, args=(number, link, ends), name=f"metaproxy-{number}"
                )
                process.start()
                for end in ends:
                    end.close()
                self._children[number] = _Child(process, link, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _child(self, number: int, link: Link, ends: Ends) -> None:
        # The supervisor's ends of all connections: as long as one is open, a worker does not see it die.
        self._hub.abandon()
        for end in (self._wake, self._woken):
            end.close()
        for inherited in (link, *(child.link for child in self._children.values())):
            inherited.close()
        for signal_number in SIGNALS:
            signal.signal(signal_number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker can reload
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor sends SIGTERM
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        raise SystemExit(self._work(number, self._rollout.current, ends))

    def _hear(self, number: int, child: _Child) -> None:
        for message in child.link.receive():
            match message:
                case Serving():
                    child.serves = True
                    self._rollout.joined(number, child.link, message.state.generation)
                    self._tell_ready()
                case Prepared():
                    self._rollout.prepared(number, message)
                case Ask():
                    self._rollout.asked(child.link, message)
        child.link.flush()

    def _bury_dead(self) -> None:
        for number, child in list(self._children.items()):
            if child.process.is_alive():
                continue
            del self._children[number]
            self._rollout.left(number)
            child.link.close()
            exit_code = child.process.exitcode
            if self._stopping:
                if exit_code not in (0, -signal.SIGTERM):  # SIGTERM ends one that has only just begun
                    logger.error("a worker died while stopping", worker=number, exit_code=exit_code)
                continue
            now = time.monotonic()
            quick = now - child.started < QUICK_DEATH_SECONDS
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            logger.error("a worker died", worker=number, exit_code=exit_code)
            if self._quick_deaths >= MAX_QUICK_DEATHS:
                logger.error(
                    "workers die right after their start, the supervisor gives up",
                    deaths=self._quick_deaths,
                    exit_code=exit_code,
                )
                self._stop()
            else:
                self._pauses[number] = now + (
                    FIRST_PAUSE_SECONDS * 2 ** (self._quick_deaths - 1) if quick else 0.0
                )

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._pauses.items() if due <= now]:
            del self._pauses[number]
            self._start(number)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self._watch is not None and not self._stopping and now >= self._next_look:
            if not self._rollout.under_way and self._watch.look():
                self._rollout.want("file")
            self._next_look = now + self._watch.pause
        if self._notifier.alive_every is not None and now >= self._next_sign:
            self._notifier.alive()
            self._next_sign = now + self._notifier.alive_every
        if self._kill_at is not None and now >= self._kill_at:
            self._signal_all(signal.SIGKILL)
            self._kill_at = None

    def _tell_ready(self) -> None:
        if not self._is_ready and all(child.serves for child in self._children.values()):
            self._is_ready = True
            self._notifier.ready()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)
        with suppress(OSError):
            self._wake.send(b"\0")

    def _handle_signals(self) -> None:
        while self._signals:
            if self._signals.pop(0) == signal.SIGHUP:
                self._rollout.want("signal")
                continue
            match self._presses.count():
                case 0:
                    continue
                case 1:
                    self._stop()
                case 2:
                    self._kill_at = time.monotonic() + BREAK_OFF_SECONDS
                    for child in self._children.values():
                        child.link.send(BreakOff())
                case _:
                    self._kill_at = time.monotonic()

    def _stop(self) -> None:
        self._stopping = True
        self._pauses.clear()
        self._notifier.stopping()
        self._rollout.stop()
        self._at_stop()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for child in self._children.values():
            if child.process.pid is not None and child.process.is_alive():
                os.kill(child.process.pid, number)
