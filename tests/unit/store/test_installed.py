"""A shared store says what is missing before anything imports redis-py."""

import sys
from pathlib import Path

import pytest

from metaproxy import create_app
from metaproxy.store.installed import require_redis
from metaproxy.store.unavailable import StoreNotInstalled
from tests.unit.assembly.configured import STATIC, config

STORE = """
store: {url: "redis://127.0.0.1:9/0"}
"""


def only_with_redis(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str | None) -> None:
    """Let ``folder`` be all of the import path, with redis-py of ``version`` in it or without any."""
    if version is not None:
        (folder / f"redis-{version}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: redis\nVersion: {version}\n"
        (folder / f"redis-{version}.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.setattr(sys, "path", [str(folder)])


def test_redis_py_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_with_redis(monkeypatch, tmp_path, None)
    with pytest.raises(StoreNotInstalled) as refusal:
        require_redis()
    assert str(refusal.value) == "store.url needs the extra redis: pip install 'metaproxy[redis]'"


@pytest.mark.parametrize("version", ["4.3.4", "6.4.0", "7.2.0b1", "3"])
def test_redis_py_that_is_too_old_is_named_with_both_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    only_with_redis(monkeypatch, tmp_path, version)
    with pytest.raises(StoreNotInstalled) as refusal:
        require_redis()
    assert str(refusal.value) == (
        f"store.url needs redis-py 7.2.0 or newer, and {version} is installed: pip install 'metaproxy[redis]'"
    )


@pytest.mark.parametrize("version", ["7.2.0", "7.3.0b2", "8", "8.1.0", "10.0.dev1"])
def test_redis_py_from_the_oldest_on_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    only_with_redis(monkeypatch, tmp_path, version)
    require_redis()


def test_an_application_with_a_store_says_so_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured = config(tmp_path, STATIC, STORE)
    only_with_redis(monkeypatch, tmp_path, None)
    with pytest.raises(StoreNotInstalled, match=r"store\.url needs the extra redis"):
        create_app(configured)
