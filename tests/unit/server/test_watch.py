import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metaproxy.config.files import Files
from metaproxy.server.watch import GONE_SECONDS, LONGEST_UNREST_SECONDS, Watch, digest


@dataclass
class Source:
    """Stands for what reads the configuration: it has read one file."""

    path: Path
    files: Files = field(default_factory=Files)

    def read(self) -> None:
        self.files = Files()
        self.files.look_at([self.path])


def watched(path: Path) -> tuple[Source, Watch]:
    source = Source(path)
    source.read()
    return source, Watch(source, clock=lambda: 0.0)


def change(file: Path, how: str) -> None:
    """Change ``file`` the way that ``how`` names."""
    folder = file.parent
    match how:
        case "written":
            file.write_text("new")
        case "renamed":
            (folder / "other").write_text("new")
            (folder / "other").rename(file)
        case "linked":  # as Kubernetes changes a Secret, and certbot a certificate
            (folder / "..new").mkdir()
            (folder / "..new" / file.name).write_text("new")
            (folder / "link").symlink_to(f"..new/{file.name}")
            (folder / "link").rename(file)
        case "deleted and made again":
            file.unlink()
            file.write_text("new")
        case "of the same length and time":
            times = file.stat()
            file.write_text("odd")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "how", ["written", "renamed", "linked", "deleted and made again", "of the same length and time"]
)
def test_new_content_is_noticed_however_it_comes(tmp_path: Path, how: str) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    _, watch = watched(file)
    before = watch.look()

    change(file, how)

    assert (before, watch.look(), watch.look()) == (False, False, True)


def test_a_link_to_a_folder_that_is_swapped_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.pem").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "server.pem").symlink_to("..data/server.pem")
    _, watch = watched(tmp_path / "server.pem")
    watch.look()

    (tmp_path / "..tmp").symlink_to("two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")

    assert [watch.look(), watch.look()] == [False, True]


def test_what_changed_before_the_first_look_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    _, watch = watched(file)
    file.write_text("new")

    assert [watch.look(), watch.look()] == [False, True]


def test_the_same_content_written_again_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    _, watch = watched(file)

    file.write_text("old")

    assert not any(watch.look() for _ in range(3))


def test_a_file_that_is_absent_for_a_while_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    _, watch = watched(file)

    file.unlink()
    absent = [watch.look(), watch.look()]
    file.write_text("old")

    assert absent == [False, False]
    assert not watch.look()


def test_a_file_that_was_missing_is_noticed_when_it_comes_also_in_a_new_folder(tmp_path: Path) -> None:
    file = tmp_path / "none yet" / "server.pem"
    _, watch = watched(file)
    absent = watch.look()

    file.parent.mkdir()
    file.write_text("new")

    assert (absent, watch.look(), watch.look()) == (False, False, True)


def test_content_that_still_changes_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    _, watch = watched(file)
    seen = []

    for part in ("n", "ne", "new"):
        file.write_text(part)
        seen.append(watch.look())

    assert (seen, watch.look()) == ([False, False, False], True)


def test_content_that_never_rests_is_taken_in_the_end(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    source = Source(file)
    source.read()
    now = 0.0
    watch = Watch(source, clock=lambda: now)

    file.write_text("1")
    first = watch.look()
    now = LONGEST_UNREST_SECONDS + 1
    file.write_text("2")

    assert (first, watch.look()) == (False, True)


def test_what_was_read_is_known_whatever_came_of_it(tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    file.write_text("old")
    source, watch = watched(file)
    file.write_text("new")
    watch.look()

    source.read()

    assert [watch.look(), watch.look()] == [False, False]


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert digest(tmp_path / "pipe") is None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_that_stays_away_is_noticed_once(tmp_path: Path) -> None:
    file, clock = tmp_path / "server.pem", Clock()
    file.write_text("old")
    source = Source(file)
    source.read()
    watch = Watch(source, clock=clock)
    watch.look()
    file.unlink()

    looks = []
    for _ in range(3):
        looks.append(watch.look())
        clock.now += GONE_SECONDS
    source.read()  # as the reload does that is refused
    looks += [watch.look(), watch.look()]

    assert looks == [False, False, True, False, False]


def test_a_file_that_comes_back_in_time_has_not_been_away(tmp_path: Path) -> None:
    file, clock = tmp_path / "server.pem", Clock()
    file.write_text("old")
    source = Source(file)
    source.read()
    watch = Watch(source, clock=clock)
    file.unlink()

    before = watch.look()
    clock.now += GONE_SECONDS / 2
    file.write_text("old")
    clock.now += GONE_SECONDS

    assert [before, watch.look(), watch.look()] == [False, False, False]


def test_a_pipe_that_was_read_once_is_not_gone(tmp_path: Path) -> None:
    pipe, clock = tmp_path / "pipe", Clock()
    pipe.write_text("old")
    source = Source(pipe)
    source.read()
    watch = Watch(source, clock=clock)
    pipe.unlink()
    os.mkfifo(pipe)

    looks = []
    for _ in range(3):
        looks.append(watch.look())
        clock.now += 2 * GONE_SECONDS

    assert looks == [False, False, False]
