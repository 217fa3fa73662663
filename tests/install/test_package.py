"""The package as a user installs it: into environments that have nothing else.

One environment is made from the index; the others are copies of it with one extra each, so that the whole
file takes about a minute.
"""

import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from metaproxy.cli.configuration import sample_configuration
from metaproxy.version import __version__
from tests.e2e.processes import wait_until
from tests.install.environment import ROOT, Environment, build, build_wheel
from tests.redis_server import RedisServer

pytestmark = pytest.mark.install

EXAMPLES = sorted((ROOT / "config/examples").glob("*.yaml"))
SECRETS = {
    "KEYSTONE_PASSWORD": "s",
    "KEYSTONE_SECRET": "s",
    "IDENTITY_PASSWORD": "s",
    "METAPROXY_ADMIN_TOKEN": "an-admin-token-of-the-test",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}
OPEN = "server: {listen: 127.0.0.1:0}\nidentity: {provider: none}\nadmin: {listen: []}\n"
UPSTREAM = "upstream: {targets: [http://127.0.0.1:9]}\n"
IN_REDIS = OPEN + UPSTREAM + "store: {url: 'redis://127.0.0.1:9/0'}\n"
SEALED = (
    "server: {listen: 127.0.0.1:0}\nadmin: {listen: []}\n"
    "identity: {provider: keystone-v2, self_validating: true, "
    f"url: 'http://127.0.0.1:9', shared_tokens: {{keys: ['{sha256(b'a key').hexdigest()}']}}}}\n"
    + UPSTREAM
    + "\n"
)
TRACED = OPEN + UPSTREAM + "tracing: {otlp_endpoint: 'http://127.0.0.1:9', sample: 1}\n"
NEEDS_REDIS = "metaproxy.yaml:5: store.url: needs the extra redis: pip install 'metaproxy[redis]'"
NEEDS_TOKENS = (
    "metaproxy.yaml:3: identity.shared_tokens.keys: needs the extra tokens: pip install 'metaproxy[tokens]'"
)
NEEDS_OTEL = "metaproxy.yaml:5: tracing.otlp_endpoint: needs the extra otel: pip install 'metaproxy[otel]'"

Distributions = tuple[Path, Path]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheel made from it."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def bare(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.made(tmp_path_factory.mktemp("bare") / "venv", str(built[1]))


@pytest.fixture(scope="session")
def with_redis(
    bare: Environment, built: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    return bare.copied(tmp_path_factory.mktemp("redis") / "venv", f"{built[1]}[redis]")


@pytest.fixture(scope="session")
def with_otel(
    bare: Environment, built: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    return bare.copied(tmp_path_factory.mktemp("otel") / "venv", f"{built[1]}[otel]")


@pytest.fixture(params=["bare", "with_redis", "with_otel"])
def environment(request: pytest.FixtureRequest) -> Environment:
    made: Environment = request.getfixturevalue(request.param)
    return made


@contextmanager
def running(
    environment: Environment, folder: Path, *arguments: str | Path, announced: str
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Yield a process of ``python -m metaproxy arguments`` and its output, once that has ``announced``."""
    log = folder / "output"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [environment.python, "-m", "metaproxy", *arguments],
            cwd=folder,
            env=environment.variables(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: re.search(announced, log.read_text()) is not None or process.poll() is not None,
            what=announced,
            seconds=60,
        )
        assert process.poll() is None, log.read_text()
        yield process, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(built: Distributions, tmp_path: Path) -> None:
    with ZipFile(built[1]) as of_sdist, ZipFile(build_wheel(tmp_path)) as of_checkout:
        assert {entry.filename: entry.CRC for entry in of_sdist.infolist()} == {
            entry.filename: entry.CRC for entry in of_checkout.infolist()
        }


def test_the_sdist_has_what_a_reader_and_a_packager_look_for(built: Distributions) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *(
            "README.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "LICENSE",
            "Makefile",
            "pyproject.toml",
        ),
        *("config/metaproxy.yaml", "config/metaproxy.schema.json", "tests/test_house.py", ".ci/run"),
    } <= names


def test_the_index_would_take_both(built: Distributions) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_description_has_no_link_that_leads_nowhere_outside_the_repository(built: Distributions) -> None:
    with ZipFile(built[1]) as wheel:
        metadata = message_from_string(wheel.read(f"metaproxy-{__version__}.dist-info/METADATA").decode())
    description = str(metadata.get_payload())
    assert "# metaproxy" in description
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", description, flags=re.DOTALL))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_only_extras_that_users_need_are_published(built: Distributions) -> None:
    with ZipFile(built[1]) as wheel:
        metadata = message_from_string(wheel.read(f"metaproxy-{__version__}.dist-info/METADATA").decode())
    assert sorted(metadata.get_all("Provides-Extra", [])) == ["otel", "redis", "tokens"]


def test_the_program_is_installed(bare: Environment, tmp_path: Path) -> None:
    said = subprocess.run(
        [bare.folder / "bin" / "metaproxy", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert said.stdout == f"metaproxy {__version__}\n"


def test_everything_public_and_every_module_of_it_is_imported(
    environment: Environment, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    without = ["metaproxy.identity.sealing"]
    without += [] if "with_redis" in request.node.name else ["metaproxy.store.redis"]
    tried = environment.run(ROOT / "tests/install/import_everything.py", *without, folder=tmp_path)
    assert tried.stderr == ""
    assert {"metaproxy.app", "metaproxy.server.run", "metaproxy.wsgi.filter"} <= set(tried.stdout.split())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_checked_without_any_extra(bare: Environment, example: Path, tmp_path: Path) -> None:
    checked = bare.run("-m", "metaproxy", "check", example, folder=tmp_path, variables=SECRETS)
    told = checked.stdout + checked.stderr
    assert "Traceback" not in told
    if "redis" not in example.stem:
        assert "extra" not in told


@pytest.mark.parametrize(
    ("config", "problem"), [(IN_REDIS, NEEDS_REDIS), (TRACED, NEEDS_OTEL), (SEALED, NEEDS_TOKENS)]
)
def test_serving_what_needs_an_extra_names_it(
    bare: Environment, config: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "metaproxy.yaml").write_text(config)
    ended = bare.run("-m", "metaproxy", "serve", "--config", "metaproxy.yaml", folder=tmp_path)
    assert ended.returncode != 0
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_demo_reads_a_miss_then_a_hit_and_sees_a_write(environment: Environment, tmp_path: Path) -> None:
    with running(environment, tmp_path, "demo", announced="For the operator\ncurl") as (_, told):
        values = dict(re.findall(r"(\w+)=(\S+)", told))
        item = f"{values['API']}{values['ITEM'].removeprefix('$API')}"
        with httpx.Client(headers={"X-Auth-Token": values["ALICE"]}, trust_env=False) as alice:
            states = []
            for number in range(2):
                states += [alice.get(item).headers["cache-status"] for _ in range(2)]
                written = alice.put(item, json={"meta": {"label": f"new {number}"}})
                assert written.status_code == 200
                assert alice.get(item).json() == {"meta": {"label": f"new {number}"}}
    assert "fwd=uri-miss" in states[0]
    assert "; hit" in states[1]


@pytest.mark.parametrize("hiredis", [True, False])
def test_rates_are_counted_in_a_shared_store_with_and_without_hiredis(
    with_redis: Environment, bare: Environment, hiredis: bool, tmp_path: Path
) -> None:
    environment = with_redis if hiredis else bare.copied(tmp_path / "venv", "redis")
    with RedisServer() as redis:
        (tmp_path / "metaproxy.yaml").write_text(
            f"server: {{listen: 'unix:{tmp_path}/data.sock'}}\nidentity: {{provider: none}}\n"
            f"admin: {{listen: 'unix:{tmp_path}/admin.sock'}}\nlogging: {{format: json}}\n"
            + UPSTREAM
            + f"store: {{url: '{redis.url}', timeout: 2s}}\n"
            "limits: {rates: [{name: few, methods: [POST], per: [address], rate: 2/day}]}\n"
        )
        with (
            running(environment, tmp_path, "serve", "--config", "metaproxy.yaml", announced="starting"),
            httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "data.sock"))) as client,
        ):
            wait_until(lambda: _answers(client), what="an answer")
            answered = [client.post("http://proxy/v2.1/servers").status_code for _ in range(3)]
        with redis.client() as counted:
            keys = counted.keys("metaproxy:rate:*")
    assert (answered, len(keys)) == ([502, 502, 413], 1)


def test_redis_py_that_is_too_old_is_named(bare: Environment, tmp_path: Path) -> None:
    environment = bare.copied(tmp_path / "venv", "redis==4.6.0")
    (tmp_path / "metaproxy.yaml").write_text(IN_REDIS)
    ended = environment.run("-m", "metaproxy", "serve", "--config", "metaproxy.yaml", folder=tmp_path)
    assert ended.returncode != 0
    assert "and 4.6.0 is installed: pip install 'metaproxy[redis]'" in ended.stderr


def test_the_wsgi_filter_and_the_entry_points_of_paste_work_without_paste(
    bare: Environment, tmp_path: Path
) -> None:
    (tmp_path / "metaproxy.yaml").write_text(OPEN + UPSTREAM + "logging: {access: false}\n")
    asked = bare.run(ROOT / "tests/install/ask_wsgi.py", tmp_path / "metaproxy.yaml", folder=tmp_path)
    # structlog, which nobody has configured in this process, logs to the standard output as well.
    told = [line for line in asked.stdout.splitlines() if "factory" in line or line.startswith("filter ")]
    assert told[:2] == ["filter 200 OK", "filter_factory 200 OK"], asked.stderr
    assert told[2].startswith("app_factory 50"), "the upstream does not exist"


def test_the_sample_and_the_schema_are_in_the_wheel(bare: Environment, tmp_path: Path) -> None:
    sample = bare.run("-m", "metaproxy", "config", "sample", folder=tmp_path)
    assert sample.stdout == sample_configuration() == (ROOT / "config/metaproxy.yaml").read_text()
    program = (
        "from importlib.resources import files;"
        "print((files('metaproxy.config') / 'metaproxy.schema.json').read_text(), end='')"
    )
    schema = bare.run("-c", program, folder=tmp_path)
    assert schema.stdout == (ROOT / "config/metaproxy.schema.json").read_text()


def test_it_runs_with_the_oldest_releases_that_it_admits(built: Distributions, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = [
        re.sub(r">=([\w.]+)[^;]*", r"==\1", requirement)
        for requirement in (
            *project["dependencies"],
            *project["optional-dependencies"]["redis"],
            *project["optional-dependencies"]["tokens"],
        )
    ]
    environment = Environment.made(tmp_path / "venv", str(built[1]), *oldest)
    tried = environment.run(ROOT / "tests/install/import_everything.py", folder=tmp_path)
    assert tried.returncode == 0, tried.stderr
    test_the_demo_reads_a_miss_then_a_hit_and_sees_a_write(environment, tmp_path)


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("http://proxy/")
    except httpx.TransportError:
        return False
    return True
