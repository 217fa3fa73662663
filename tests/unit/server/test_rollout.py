"""What the supervisor sends to its workers for a reload, without processes."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.config import Config
from metaproxy.server.messages import Ask, Outcome, Prepare, Prepared, Show, Take, ToWorker
from metaproxy.server.rollout import PREPARE_SECONDS, Rollout
from metaproxy.server.source import Generation
from tests.unit.assembly.configured import STATIC, config

STATE = ConfigState("metaproxy.yaml", generation=1, loaded_at=0.0)


@dataclass
class Worker:
    """Stands for the connection to a worker."""

    got: list[ToWorker] = field(default_factory=list)

    def send(self, message: ToWorker) -> None:
        self.got.append(message)

    def kinds(self) -> list[type]:
        return [type(message) for message in self.got]

    def round(self) -> int:
        return [message for message in self.got if isinstance(message, Prepare)][-1].round


@dataclass
class Files:
    """Stands for what is on the disk."""

    found: Config
    problems: tuple[str, ...] = ()
    reads: int = 0

    def read(self) -> tuple[Config, tuple[str, ...]]:
        self.reads += 1
        if self.problems:
            raise ReloadRefused(self.problems)
        return self.found, ()


@dataclass
class Site:
    files: Files
    rollout: Rollout
    now: list[float]
    workers: list[Worker] = field(default_factory=list)

    def join(self, generation: int = 1) -> Worker:
        worker = Worker()
        self.rollout.joined(len(self.workers), worker, generation)  # type: ignore[arg-type] # stands for a link
        self.workers.append(worker)
        return worker

    def answer(self, number: int, *problems: str) -> None:
        self.rollout.prepared(number, Prepared(self.workers[number].round(), problems))
        self.rollout.advance()

    def reload(self) -> None:
        for worker in self.workers:
            worker.got.clear()
        self.rollout.want("signal")
        self.rollout.advance()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    begin = config(tmp_path, STATIC)
    now = [0.0]
    files = Files(begin)
    rollout = Rollout(
        files,
        Generation(begin, STATE),
        clock=lambda: now[0],
        wall=lambda: 1000.0,
    )
    site = Site(files, rollout, now)
    site.join()
    site.join()
    return site


def test_no_worker_takes_a_configuration_before_all_have_prepared_it(site: Site) -> None:
    first, second = site.workers
    site.reload()

    site.answer(0)
    half_way = first.kinds(), second.kinds()
    site.answer(1)

    assert half_way == ([Prepare], [Prepare])
    assert first.kinds() == second.kinds() == [Prepare, Take]
    assert site.rollout.current.state.generation == 2


def test_if_one_worker_cannot_none_takes_it(site: Site) -> None:
    first, second = site.workers
    site.reload()

    site.answer(0)
    site.answer(1, "no memory")

    assert first.kinds() == second.kinds() == [Prepare, Show]
    assert site.rollout.current.state.generation == 1
    assert site.rollout.current.state.problems == ("no memory",)


def test_a_worker_that_dies_does_not_hold_up_the_others(site: Site) -> None:
    first, _ = site.workers
    site.reload()
    site.answer(0)

    site.rollout.left(1)
    site.rollout.advance()

    assert first.kinds() == [Prepare, Take]


def test_a_worker_that_hangs_does_not_hold_up_the_others_for_ever(site: Site) -> None:
    first, second = site.workers
    site.reload()
    site.answer(0)

    site.now[0] = PREPARE_SECONDS
    site.rollout.advance()

    assert first.kinds() == second.kinds() == [Prepare, Take]


def test_a_late_answer_does_not_count_for_the_next_reload(site: Site) -> None:
    site.reload()
    late = site.workers[1].round()
    site.answer(0, "no memory")
    site.reload()

    site.rollout.prepared(1, Prepared(late))
    site.answer(0)

    assert site.workers[0].kinds() == [Prepare]


def test_a_reload_that_is_wanted_meanwhile_begins_when_the_other_has_ended(site: Site) -> None:
    site.reload()
    for _ in range(3):
        site.rollout.want("signal")
    site.rollout.advance()
    reads_before = site.files.reads

    site.answer(0)
    site.answer(1)

    assert (reads_before, site.files.reads) == (1, 2)
    assert site.workers[0].kinds() == [Prepare, Take, Prepare]


def test_files_that_cannot_be_used_reach_no_worker(site: Site) -> None:
    site.files.problems = ("metaproxy.yaml:1: no",)

    site.reload()

    assert site.workers[0].kinds() == [Show]
    assert site.rollout.current.state.reloads_refused == 1


def test_a_worker_that_begins_to_serve_gets_what_the_others_have_by_now(site: Site) -> None:
    site.reload()
    site.answer(0)
    site.answer(1)

    late = site.join(generation=1)

    assert late.kinds() == [Prepare, Take]


def test_a_worker_that_begins_to_serve_during_a_reload_takes_part(site: Site) -> None:
    site.reload()
    late = site.join()

    site.answer(0)
    site.answer(1)

    assert late.kinds() == [Show, Prepare, Take]


def test_a_reload_before_any_worker_serves_is_what_they_get(tmp_path: Path, site: Site) -> None:
    for number in range(2):
        site.rollout.left(number)

    site.rollout.want("signal")
    site.rollout.advance()

    assert site.join(generation=1).kinds() == [Prepare, Take]


def test_the_asker_gets_the_outcome_of_a_reload_that_began_after_the_question(site: Site) -> None:
    asker = site.workers[0]
    site.reload()
    site.rollout.asked(asker, Ask(7, "operator"))  # type: ignore[arg-type] # stands for a link
    site.answer(0)
    site.answer(1)
    after_the_first = [message for message in asker.got if isinstance(message, Outcome)]

    site.answer(0)
    site.answer(1)

    assert after_the_first == []
    assert asker.got[-1] == Outcome(7)


def test_at_the_end_askers_are_answered_and_no_reload_begins(site: Site) -> None:
    asker = site.workers[0]
    site.reload()
    site.rollout.asked(asker, Ask(7, "operator"))  # type: ignore[arg-type] # stands for a link

    site.rollout.stop()
    site.rollout.want("signal")
    site.rollout.advance()
    site.answer(0)
    site.answer(1)

    assert asker.got[-1] == Outcome(7, ("metaproxy is about to end",))
    assert site.rollout.current.state.generation == 1
    assert Take not in asker.kinds()
