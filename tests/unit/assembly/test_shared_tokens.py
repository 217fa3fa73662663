"""The section ``identity.shared_tokens``: when tokens are shared, and how little is said of its keys."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from metaproxy.app import create_app
from metaproxy.config.load import effective
from metaproxy.config.model import Config
from metaproxy.preflight.inspection import inspect
from metaproxy.store.revocations import KEPT_SECONDS
from tests.unit.assembly.configured import BASE, KEYSTONE, config

KEY = sha256(b"a key").hexdigest()
SHARED = f"  shared_tokens: {{keys: ['{KEY}']}}\n"
STORE = "store: {url: 'redis://127.0.0.1:9/0'}\n"


def shared_of(said: Config) -> Any:
    authenticate = create_app(said).authenticate
    assert authenticate is not None
    return authenticate.validator.shared


@pytest.mark.parametrize(
    ("sections", "is_shared"),
    [
        ((KEYSTONE + SHARED, STORE), True),
        ((KEYSTONE, STORE), False),
        ((KEYSTONE + SHARED,), False),
    ],
)
def test_tokens_are_shared_with_a_key_and_a_store_alone(
    tmp_path: Path, sections: tuple[str, ...], is_shared: bool
) -> None:
    assert (shared_of(config(tmp_path, *sections)) is not None) is is_shared


def test_a_token_is_shared_no_longer_than_revocations_are_remembered(tmp_path: Path) -> None:
    shared = shared_of(config(tmp_path, KEYSTONE + SHARED + "  cache: {ttl: 30d}\n", STORE))

    assert shared.ttl == KEPT_SECONDS


def test_a_key_is_shown_to_nobody(tmp_path: Path) -> None:
    said = config(tmp_path, KEYSTONE + SHARED, STORE)

    assert effective(said)["identity"]["shared_tokens"] == {"keys": ["***"]}
    assert KEY not in repr(said)
    assert KEY not in repr(vars(shared_of(said)))


def warnings(folder: Path, *sections: str) -> list[str]:
    path = folder / "metaproxy.yaml"
    path.write_text(BASE + "\n".join(sections))
    path.chmod(0o600)
    problems = inspect(path, environ={"KEY": KEY}).problems
    return [str(problem) for problem in problems if problem.key.startswith("identity.shared_tokens")]


def test_check_warns_of_keys_without_a_store(tmp_path: Path) -> None:
    (told,) = warnings(tmp_path, KEYSTONE + SHARED)

    assert "identity.shared_tokens.keys: warning: shares nothing without store.url" in told


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_check_warns_of_a_key_file_that_all_users_can_read(tmp_path: Path, mode: int, is_told: bool) -> None:
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    key.chmod(mode)

    told = warnings(tmp_path, KEYSTONE + SHARED.replace(KEY, "${file:key}"), STORE)

    assert [f"(mode 0{mode:o}): chmod 600 {key}" in line for line in told] == [True] * is_told
    assert KEY not in str(told)


@pytest.mark.parametrize("key", ["secret", KEY[:-1], "00" * 32, KEY + "0", bytes(range(32)).hex()])
def test_check_refuses_a_key_that_is_none_and_does_not_show_it(tmp_path: Path, key: str) -> None:
    (told,) = warnings(tmp_path, KEYSTONE + SHARED.replace(KEY, key), STORE)

    assert "`openssl rand -hex 32`" in told
    assert key not in told


def test_a_key_may_come_from_the_environment(tmp_path: Path) -> None:
    assert warnings(tmp_path, KEYSTONE + SHARED.replace(KEY, "${KEY}"), STORE) == []
