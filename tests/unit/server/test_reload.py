import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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


async def test_a_change_that_another_reload_has_read_is_not_taken_twice(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    write(tmp_path, "via: {pseudonym: changed}")
    await running.reload("operator")

    state = await running.reload("file")

    assert (state.generation, state.unchanged) == (2, False)


async def test_a_reload_of_what_is_in_use_that_an_operator_asks_for_says_so(tmp_path: Path) -> None:
    running = reloader(tmp_path)

    with capture_logs() as logs:
        again = await running.reload("operator")

    assert (again.generation, again.unchanged) == (2, True)
    assert [line["unchanged"] for line in logs if line["event"] == "configuration reloaded"] == [True]


async def test_a_file_that_is_as_it_was_clears_the_problems_of_a_bad_one(tmp_path: Path) -> None:
    running = reloader(tmp_path)
    good = (tmp_path / "metaproxy.yaml").read_text()
    write(tmp_path, "via: [")
    with pytest.raises(ReloadRefused):
        await running.reload("file")
    (tmp_path / "metaproxy.yaml").write_text(good)

    state = await running.reload("file")

    assert (state.generation, state.problems) == (2, ())


IDENTITY = """
identity:
  provider: keystone-v3
  url: {url}
  login:
    username: m
    password: wrong
    user_domain_name: Default
"""


@pytest.mark.parametrize(
    ("answer", "line", "key", "says"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}", 8, "login", "(login_refused"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 7, "url", "(nonsense"),
    ],
)
async def test_a_configuration_that_identity_does_not_let_in_is_refused_with_line_and_key(
    tmp_path: Path, answer: bytes, line: int, key: str, says: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    file = tmp_path / "metaproxy.yaml"
    begin = config(tmp_path, STATIC)
    state = replace(STATE, path=str(file))
    running = Alone(
        Source(file, begin),
        Reloader(Switch(create_app(begin)), state),
        notifier=Notifier({}),
        time=lambda: 1.0,
    )
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as keystone:
        port = keystone.sockets[0].getsockname()[1]
        file.write_text(BASE + IDENTITY.format(url=f"http://127.0.0.1:{port}/v3"))

        with pytest.raises(ReloadRefused) as refused:
            await running.reload("operator")

    (problem,) = refused.value.problems
    assert problem.startswith(f"{file}:{line}: identity.{key}: ")
    assert says in problem
    assert "has never accepted this process" not in problem


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
