"""Bringing all workers to the same configuration, at the same time as far as processes can.

The supervisor reads the files once. Every worker prepares the same bytes; only if all of them can, all take
them. So a file that changes between two workers' reads cannot split them.

    state       event                                   next
    idle        a reload is wanted                      the files are read; idle if refused, or preparing
    preparing   the last worker has answered, or died   idle: Take to all, or Show to all if one refused
    preparing   a worker does not answer in time        idle: Take to all; that one takes it when it can
    any         a worker begins to serve                the same; it gets what the others have
    any         the process ends                        stopped: every asker is told
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from metaproxy.admin.service import ReloadRefused
from metaproxy.clock import Clock, wall
from metaproxy.config import Config
from metaproxy.server.alone import log_refusal, log_reload
from metaproxy.server.messages import Ask, Link, Outcome, Prepare, Prepared, Show, Take
from metaproxy.server.notify import Notifier
from metaproxy.server.reload import refused, taken
from metaproxy.server.source import Generation, Readable

PREPARE_SECONDS = 20.0
"""How long the workers may take to prepare. One that takes longer does not hold up the others."""


@dataclass(slots=True)
class _Round:
    """A reload under way."""

    number: int
    config: Config
    needs_restart: tuple[str, ...]
    cause: str
    asked: list[tuple[Link, int]]
    waiting: set[int]
    deadline: float
    unchanged: bool
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Wanted:
    """A reload that begins when the one under way has ended: files may have changed since that began."""

    cause: str
    asked: list[tuple[Link, int]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Rollout:
    """The supervisor's part in reloads. Workers are known by their numbers.

    Args:
        at_change: called when a configuration is in use.
        notifier: tells systemd; None tells nobody.
    """

    source: Readable
    current: Generation
    """The configuration that every worker uses; a worker that is started begins with it."""
    at_change: Callable[[Generation], None] = lambda _: None
    notifier: Notifier | None = None
    clock: Clock = time.monotonic
    wall: Clock = wall
    _links: dict[int, Link] = field(init=False, default_factory=dict)
    _round: _Round | None = field(init=False, default=None)
    _wanted: _Wanted | None = field(init=False, default=None)
    _stopped: bool = field(init=False, default=False)
    _rounds: int = field(init=False, default=0)

    @property
    def under_way(self) -> bool:
        """True if a reload is under way or wanted."""
        return self._round is not None or self._wanted is not None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until ``advance`` has to be called; None if nothing is due."""
        if self._round is not None:
            return max(self._round.deadline - self.clock(), 0.0)
        return 0.0 if self._wanted is not None else None

    def want(self, cause: str) -> None:
        """Reload as soon as no other reload is under way."""
        if self._wanted is None and not self._stopped:
            self._wanted = _Wanted(cause)

    def asked(self, link: Link, ask: Ask) -> None:
        """A worker asks for a reload."""
        if self._stopped:
            link.send(Outcome(ask.number, ("metaproxy is about to end",)))
            return
        self.want(ask.cause)
        if self._wanted is not None:
            self._wanted.asked.append((link, ask.number))

    def joined(self, number: int, link: Link, generation: int) -> None:
        """A worker serves: bring it to where the others are by now."""
        self._links[number] = link
        if generation != self.current.state.generation:
            link.send(Prepare(0, self.current.config))
            link.send(Take(self.current.state))
        else:
            link.send(Show(self.current.state))
        if self._round is not None:
            link.send(Prepare(self._round.number, self._round.config))

    def left(self, number: int) -> None:
        """A worker is gone."""
        if self._links.pop(number, None) is not None:
            self._voted(number, ())

    def prepared(self, number: int, message: Prepared) -> None:
        """A worker has prepared the configuration, or cannot."""
        if self._round is not None and self._round.number == message.round:
            self._voted(number, message.problems)

    def _voted(self, number: int, problems: tuple[str, ...]) -> None:
        if self._round is not None and number in self._round.waiting:
            self._round.waiting.discard(number)
            self._round.problems = self._round.problems or problems

    def advance(self) -> None:
        """End the reload under way if all have answered or its time is over; begin one that is wanted."""
        while not self._stopped:
            under_way = self._round
            if under_way is not None:
                if under_way.waiting and not under_way.problems and self.clock() < under_way.deadline:
                    return
                self._end(under_way)
            elif self._wanted is not None:
                self._begin(self._wanted)
            else:
                return

    def stop(self) -> None:
        """The process ends: no reload begins or ends any more."""
        self._stopped = True
        asked = [*(self._round.asked if self._round else ()), *(self._wanted.asked if self._wanted else ())]
        self._round = self._wanted = None
        _answer(asked, ("metaproxy is about to end",))

    def _begin(self, wanted: _Wanted) -> None:
        self._wanted = None
        if self.notifier is not None and self._links:
            self.notifier.reloading()
        try:
            config, needs_restart = self.source.read()
        except ReloadRefused as error:
            self._refuse(wanted.cause, error.problems, wanted.asked)
            return
        unchanged = config.files.are_as_in(self.current.config.files)
        if unchanged and wanted.cause == "file" and not (wanted.asked or self.current.state.problems):
            self._tell([], ())  # another reload has just read the same change
            return
        self._rounds += 1
        self._round = _Round(
            self._rounds,
            config,
            needs_restart,
            wanted.cause,
            wanted.asked,
            waiting=set(self._links),
            deadline=self.clock() + PREPARE_SECONDS,
            unchanged=unchanged,
        )
        for link in self._links.values():
            link.send(Prepare(self._rounds, config))

    def _end(self, ended: _Round) -> None:
        self._round = None
        if ended.problems:
            self._refuse(ended.cause, ended.problems, ended.asked)
            return
        state = taken(self.current.state, ended.needs_restart, self.wall(), unchanged=ended.unchanged)
        self.current = Generation(ended.config, state)
        for link in self._links.values():
            link.send(Take(state))
        self.at_change(self.current)
        log_reload(ended.cause, state)
        self._tell(ended.asked, ())

    def _refuse(self, cause: str, problems: tuple[str, ...], asked: list[tuple[Link, int]]) -> None:
        state = refused(self.current.state, problems, self.wall())
        self.current = Generation(self.current.config, state)
        for link in self._links.values():
            link.send(Show(state))
        log_refusal(cause, problems)
        self._tell(asked, problems)

    def _tell(self, asked: list[tuple[Link, int]], problems: tuple[str, ...]) -> None:
        _answer(asked, problems)
        if self.notifier is not None and self._links:
            self.notifier.ready()


def _answer(asked: list[tuple[Link, int]], problems: tuple[str, ...]) -> None:
    for link, number in asked:
        link.send(Outcome(number, problems))
