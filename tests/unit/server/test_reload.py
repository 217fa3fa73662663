from collections.abc import Callable
from pathlib import Path

import pytest

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.app import create_app
from metaproxy.assembly.tls import TlsError
from metaproxy.config import Config, load_config
from metaproxy.server.alone import Alone
from metaproxy.server.notify import Notifier
from metaproxy.server.reload import Apply, Reloader
from metaproxy.server.source import Source, with_listeners_of
from metaproxy.server.switch import Switch
from tests.unit.assembly.configured import BASE, STATIC, config

STATE = ConfigState("metaproxy.yaml", generation=1, loaded_at=0.0)


def reloader(folder: Path, *sections: str, outside: Callable[..., Apply] = lambda _: lambda _: None) -> Alone:
    """The reloads of a process that serves alone."""
    begin = config(folder, STATIC, *sections)
    running = Reloader(Switch(create_app(begin)), STATE, outside=outside)
    return Alone(
        Source(folder / "metaproxy.yaml", begin), running, notifier=Notifier({}), time=lambda: 1000.0
    )


def write(folder: Path, *sections: str) -> None:
    (folder / "metaproxy.yaml").write_text(BASE + "\n".join((STATIC, *sections)))


async def test_a_new_configuration_is_a_new_generation(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    write(tmp_path, "via: {pseudonym: changed}")

    state = await running.reload("operator")

    assert (state.generation, state.loaded_at, state.problems) == (2, 1000.0, ())
    assert running.reloader.application.config.via.pseudonym == "changed"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("via: {pseudonmy: changed}", "via.pseudonmy"),
        ("via: [", "metaproxy.yaml:"),
        ("server: {listen: 127.0.0.1:0}", "server"),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path, section: str, problem: str) -> None:
    running = reloader(tmp_path)
    before = running.reloader.application
    write(tmp_path, section)

    with pytest.raises(ReloadRefused, match=problem):
        await running.reload("operator")

    assert running.reloader.application is before
    assert (running.reloader.state.generation, running.reloader.state.reloads_refused) == (1, 1)
    assert any(problem in line for line in running.reloader.state.problems)


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    (tmp_path / "metaproxy.yaml").unlink()

    with pytest.raises(ReloadRefused):
        await running.reload("operator")


async def test_a_certificate_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    (tmp_path / "metaproxy.yaml").write_text(
        STATIC + "server: {listen: 127.0.0.1:0}\nupstream: {targets: [https://a], tls: {ca: none.pem}}"
    )

    with pytest.raises(ReloadRefused, match=r"none\.pem"):
        await running.reload("operator")


async def test_what_lies_outside_the_application_can_refuse(tmp_path: Path) -> None:
    def refuse(_: Config) -> Apply:
        raise TlsError("no such certificate")

    running = reloader(tmp_path, outside=refuse)
    before = running.reloader.application

    with pytest.raises(ReloadRefused, match="no such certificate"):
        await running.reload("operator")

    assert running.reloader.application is before


async def test_a_good_file_after_a_bad_one_clears_the_problems(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    write(tmp_path, "via: {pseudonmy: changed}")
    await running.try_to_reload("file")
    refused = running.reloader.state.problems
    write(tmp_path)

    state = await running.reload("operator")

    assert (bool(refused), state.problems, state.reloads_refused) == (True, (), 1)


async def test_while_draining_the_new_application_drains_too(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    running.reloader.application.draining = True

    await running.reload("operator")

    assert running.reloader.application.draining


def settings(folder: Path, name: str, **server: str) -> Config:
    (folder / name).mkdir()
    lines = "".join(f", {key}: {value}" for key, value in server.items())
    path = folder / name / "metaproxy.yaml"
    path.write_text(
        f"{STATIC}server: {{shutdown_grace: 5s{lines}}}\nupstream: {{targets: [http://127.0.0.1:9]}}"
    )
    return load_config(path, environ={})


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"listen": "127.0.0.1:1"}, ("server.listen",)),
        ({"tls": "{certificate: a, key: b}"}, ("server.tls",)),
        ({"idle_timeout": "1s"}, ()),
    ],
)
def test_what_is_bound_since_the_start_stays(
    tmp_path: Path, changed: dict[str, str], kept: tuple[str, ...]
) -> None:
    old = settings(tmp_path, "old")

    config, needs_restart = with_listeners_of(old, settings(tmp_path, "new", **changed))

    assert needs_restart == kept
    assert (config.server.listen, config.server.tls) == (old.server.listen, old.server.tls)
