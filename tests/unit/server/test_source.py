"""What is read for a reload, and what only a restart can change."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from metaproxy.admin.service import ReloadRefused
from metaproxy.server.source import Source
from tests.unit.assembly.configured import STATIC, config

BASE = f"{STATIC}upstream: {{targets: [http://127.0.0.1:9]}}\nstore: {{url: unix:///nowhere}}\n"


def test_another_number_of_workers_needs_a_restart(tmp_path: Path) -> None:
    source = Source(tmp_path / "metaproxy.yaml", config(tmp_path, STATIC))
    (tmp_path / "metaproxy.yaml").write_text(f"{BASE}server: {{listen: 127.0.0.1:0, workers: 3}}\n")

    read, needs_restart = source.read()

    assert needs_restart == ("server.workers",)
    assert read.server.workers == 1


def test_files_are_read_anew_for_each_reload(tmp_path: Path) -> None:
    source = Source(tmp_path / "metaproxy.yaml", config(tmp_path, STATIC))
    names = []

    for name in ("one", "two"):
        (tmp_path / "metaproxy.yaml").write_text(f"{BASE}server: {{}}\nvia: {{pseudonym: {name}}}\n")
        names.append(source.read()[0].via.pseudonym)

    assert names == ["one", "two"]


@pytest.mark.parametrize("pipe", ["metaproxy.yaml", "token"])
def test_a_pipe_is_not_read_again(tmp_path: Path, pipe: str) -> None:
    source = Source(tmp_path / "metaproxy.yaml", config(tmp_path, STATIC))
    (tmp_path / "metaproxy.yaml").unlink(missing_ok=True)
    if pipe == "token":
        text = f"{BASE}server: {{}}\nadmin: {{token: '${{file:token}}'}}\n"
        (tmp_path / "metaproxy.yaml").write_text(text)
    os.mkfifo(tmp_path / pipe)  # without a writer: opening it would block

    with pytest.raises(ReloadRefused, match="a pipe can be read only once"):
        source.read()


def test_the_names_of_files_are_known_also_if_the_configuration_is_refused(tmp_path: Path) -> None:
    source = Source(tmp_path / "metaproxy.yaml", config(tmp_path, STATIC))
    text = f"{BASE}server: {{}}\nadmin: {{token: '${{file:none-yet}}'}}\n"
    (tmp_path / "metaproxy.yaml").write_text(text)

    with pytest.raises(ReloadRefused, match="none-yet"):
        source.read()

    assert tmp_path / "none-yet" in list(source.files)


def test_the_files_of_a_store_are_among_those_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "redis.pem").write_text("authorities")
    url = f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path / 'redis.pem'}"

    read = config(tmp_path, STATIC, f"store: {{url: '{url}'}}")

    assert tmp_path / "redis.pem" in list(read.files)


def test_a_reload_logs_what_is_dangerous_once(tmp_path: Path) -> None:
    source = Source(tmp_path / "metaproxy.yaml", config(tmp_path, STATIC))
    logged = []

    for origin in ("http://a", "'*'", "'*'", "http://a", "'*'"):
        text = f"{BASE}server: {{listen: 127.0.0.1:0}}\ncors: {{origins: [{origin}]}}\n"
        (tmp_path / "metaproxy.yaml").write_text(text)
        with capture_logs() as log:
            source.read()
        logged.append([line["problem"] for line in log if "cors.origins" in line.get("problem", "")])

    assert [len(lines) for lines in logged] == [0, 1, 0, 0, 1]
    assert "warning: * lets every page of the world read answers" in logged[1][0]
