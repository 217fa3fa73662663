"""From a file to a Config: values, secrets, what the command line overrides, and what is shown again."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from metaproxy.config import Config, ConfigError, effective, load_config
from metaproxy.config.addresses import ListenAddress, Target
from metaproxy.config.files import Files
from metaproxy.config.model.identity import KeystoneV3Settings, Static
from metaproxy.protocol.limits.settings import AbsoluteLimits, Concurrency
from metaproxy.settings.units import Rate

LEAST = "server: {}\nupstream: {targets: [http://127.0.0.1:1]}\nidentity: {provider: none}\n"
KEYSTONE = (
    "server: {}\nupstream: {targets: [http://127.0.0.1:1]}\nidentity:\n  provider: keystone-v3\n"
    "  url: http://k/v3\n  login: {user_id: u, password: '${PASSWORD}'}\n"
)
STATIC = LEAST.replace("none", "static, tokens_file: t.yaml")


def load(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "metaproxy.yaml"
    file.write_text(text)
    return load_config(file, environ)


def test_three_sections_are_enough(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)

    assert config.server.listen == (ListenAddress("127.0.0.1", 8774),)
    assert config.upstream.targets == (Target("http://127.0.0.1:1"),)


def test_a_path_with_a_nul_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="null byte"):
        Files().read(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "written", ["", "limits: {}\n", "limits: {absolute: {}}\n", "limits: {absolute: {request_body: 1MiB}}\n"]
)
def test_a_limit_that_is_not_written_limits_nothing(tmp_path: Path, written: str) -> None:
    absolute = load(tmp_path, LEAST + written).limits.absolute

    assert absolute.model_copy(update={"request_body": None}) == AbsoluteLimits()
    assert set(AbsoluteLimits().model_dump().values()) == {None}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{}", Concurrency(per="project", max=100)),
        ("{per: user}", Concurrency(per="user", max=100)),
        ("{max: 7}", Concurrency(per="project", max=7)),
    ],
)
def test_a_written_limit_of_concurrent_requests_keeps_its_meaning(
    tmp_path: Path, written: str, meant: Concurrency
) -> None:
    config = load(tmp_path, f"{LEAST}limits: {{absolute: {{concurrent: {written}}}}}\n")

    assert config.limits.absolute.concurrent == meant


def test_units_become_numbers(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        f"{LEAST}limits: {{rates: [{{name: a, per: [address], rate: 10/minute}}]}}\n"
        "cache: {max_bytes: 1MiB}\nstore: {timeout: 20ms}\n",
    )

    assert config.limits.rates[0].rate == Rate(10, "minute")
    assert config.cache.max_bytes == 1048576
    assert config.store.timeout == 0.02


def test_numbers_and_choices_may_come_from_the_environment(tmp_path: Path) -> None:
    text = LEAST + (
        "limits: {over_limit_status: '${STATUS}', headers: '${HEADERS}'}\ntracing: {sample: '${SAMPLE}'}\n"
    )

    config = load(tmp_path, text, STATUS="429", HEADERS="false", SAMPLE="0.5")

    assert config.limits.over_limit_status == 429
    assert config.limits.headers is False
    assert config.tracing.sample == 0.5


def test_one_address_or_a_list_of_them_is_listened_on(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST.replace("server: {}", "server: {listen: ['127.0.0.1:1', 'unix:/run/m']}"))

    assert [str(address) for address in config.server.listen] == ["127.0.0.1:1", "unix:/run/m"]


def test_an_empty_list_switches_the_operators_listener_off(tmp_path: Path) -> None:
    assert load(tmp_path, f"{LEAST}admin: {{listen: []}}\n").admin.listen == ()


@pytest.mark.parametrize("text", ["admin: {token: '${TOKEN:-}'}\n", "store: {url: '${URL:-}'}\n"])
def test_an_empty_default_is_as_good_as_leaving_the_key_out(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, LEAST + text)

    assert config.admin.token is None
    assert config.store.url is None


def test_overrides_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(f"{LEAST}store: {{url: redis://127.0.0.1}}\n")

    assert load_config(file, {}, {("server", "workers"): 3}).server.workers == 3


def test_overrides_are_checked_with_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(LEAST)

    with pytest.raises(
        ConfigError, match=r"metaproxy\.yaml:1: server\.workers: must be at most 256, not 300"
    ):
        load_config(file, {}, {("server", "workers"): 300})


def test_a_secret_reaches_who_asks_for_it_and_no_repr(tmp_path: Path) -> None:
    config = load(tmp_path, KEYSTONE, PASSWORD="swordfish")

    assert isinstance(config.identity, KeystoneV3Settings)
    assert config.identity.login.password is not None
    assert config.identity.login.password.get_secret_value() == "swordfish"
    assert "swordfish" not in repr(config)
    assert "swordfish" not in str(config)


def test_a_refused_model_does_not_repeat_its_input() -> None:
    with pytest.raises(ValidationError) as error:
        Config.model_validate({"server": {}, "admin": {"token": ["swordfish"]}})

    assert "swordfish" not in str(error.value)
    assert "swordfish" not in repr(error.value)


def test_a_model_that_is_made_in_python_is_checked_as_a_whole() -> None:
    with pytest.raises(ValidationError, match=r"there is no project to keep answers apart by"):
        Config.model_validate(
            {
                "server": {},
                "upstream": {"targets": ["http://a"]},
                "identity": {"provider": "none"},
                "cache": {"routes": [{"path": "/a"}]},
            }
        )


def test_nothing_of_a_configuration_can_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)

    with pytest.raises(ValidationError, match="frozen"):
        config.server.workers = 2


def test_tokens_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- {token: '${TOKEN}', user: {id: u1}}\n")

    config = load(tmp_path, STATIC, TOKEN="swordfish")

    assert isinstance(config.identity, Static)
    assert [token.user.id for token in config.identity.tokens] == ["u1"]


def test_what_is_wrong_in_the_file_of_tokens_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- {token: a, user: {id: u1}}\n- token: b\n  usr: {id: u2}\n")

    with pytest.raises(ConfigError) as error:
        load(tmp_path, STATIC)

    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in error.value.problems] == [
        "t.yaml:2: identity.tokens[1].user: is missing: the user that the token speaks for",
        "t.yaml:3: identity.tokens[1].usr: unknown key; did you mean user?",
    ]


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = LEAST.replace("server: {}", "server: {tls: {certificate: a.crt, key: /etc/a.key}}")

    tls = load(tmp_path, text).server.tls

    assert tls is not None
    assert tls.certificate == tmp_path / "a.crt"
    assert tls.key == Path("/etc/a.key")


def test_the_effective_configuration_has_every_default_and_no_secret(tmp_path: Path) -> None:
    text = f"{KEYSTONE}admin: {{token: swordfish}}\nstore: {{url: 'redis://u:swordfish@redis:6379/0'}}\n"

    shown = effective(load(tmp_path, text, PASSWORD="swordfish"))

    assert shown["identity"]["login"]["password"] == "***"
    assert shown["admin"]["token"] == "***"
    assert shown["store"]["url"] == "redis://***@redis:6379/0"
    assert shown["server"]["shutdown_grace"] == "30s"
    assert "swordfish" not in repr(shown)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://redis/0?password=swordfish&db=1", "redis://redis/0?password=***&db=1"),
        (
            "redis+sentinel://u:swordfish@a,b/s?sentinel_password=swordfish",
            "redis+sentinel://***@a,b/s?sentinel_password=***",
        ),
    ],
)
def test_no_password_of_the_store_is_shown(tmp_path: Path, url: str, shown: str) -> None:
    config = load(tmp_path, f"{LEAST}store: {{url: '{url}'}}\n")

    assert effective(config)["store"]["url"] == shown
    assert "swordfish" not in repr(config)


def test_the_effective_configuration_can_be_loaded_again(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)

    assert load(tmp_path, yaml.safe_dump(effective(config))) == config


def test_problems_are_plain_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"{LEAST}limits:\n  rates:\n    - {{name: a, rate: 1/week}}\n")

    (problem,) = error.value.problems
    assert (problem.file, problem.line, problem.key) == (
        str(tmp_path / "metaproxy.yaml"),
        6,
        "limits.rates[0].rate",
    )
