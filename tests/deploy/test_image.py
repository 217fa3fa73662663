"""What the Dockerfile makes, made without a container engine, and at work."""

import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.deploy.image import Image, StepFailed
from tests.e2e.processes import accepts, wait_until
from tests.ports import HeldPorts

pytestmark = pytest.mark.e2e

NO_INDEX = ("No matching distribution found", "Temporary failure in name resolution", "NewConnectionError")
"""What pip writes where it reaches no package index."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built."""
    built = Image(tmp_path_factory.mktemp("image"))
    try:
        built.build()
    except StepFailed as failed:
        if any(words in str(failed) for words in NO_INDEX):
            pytest.skip("no package index can be reached")
        raise
    return built


@pytest.fixture(scope="module")
def ports(image: Image) -> Iterator[tuple[int, int]]:
    """A configuration stands where it is mounted; the ports that it names."""
    held = HeldPorts(2)
    port, admin_port = held.numbers
    folder = image.root / "etc" / "metaproxy"
    folder.mkdir(parents=True)
    settings = {
        "server": {"listen": f"127.0.0.1:{port}"},
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
        "upstream": {"targets": ["http://127.0.0.1:9"]},
        "identity": {"provider": "none"},
        "store": {"url": "redis://127.0.0.1:9/0"},
    }
    (folder / "metaproxy.yaml").write_text(yaml.safe_dump(settings))
    image.environment["METAPROXY_ADMIN"] = f"http://127.0.0.1:{admin_port}"
    yield port, admin_port
    held.close()


@pytest.fixture(scope="module")
def files_before(image: Image, ports: tuple[int, int]) -> dict[str, float]:
    """What the container would begin with."""
    return files(image)


@pytest.fixture(scope="module")
def container(
    image: Image,
    ports: tuple[int, int],
    files_before: dict[str, float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that the image starts, with nothing around it but the image's environment."""
    log = tmp_path_factory.mktemp("log") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            image.found(image.command("ENTRYPOINT") + image.command("CMD")),
            env=image.environment,
            cwd=image.root,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: accepts(ports[0]) or process.poll() is not None, what="the process")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def files(image: Image) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in image.root.rglob("*") if path.exists()}


def test_the_stage_that_builds_leaves_nothing_but_what_is_copied(image: Image) -> None:
    assert not (image.root / "src").exists()
    assert [path.name for path in (image.root / "opt").iterdir()] == ["metaproxy"]


def test_nothing_for_developers_is_installed(image: Image) -> None:
    installed = {path.name.partition("-")[0] for path in image.root.rglob("site-packages/*.dist-info")}

    assert {"metaproxy", "redis", "uvloop"} <= installed
    assert {"pytest", "mypy", "ruff", "hypothesis", "pip", "setuptools"} & installed == set()


def test_the_demo_that_compose_runs_is_in_the_image(image: Image) -> None:
    ran = image.run(["python", "-c", "import metaproxy.demo.compute, metaproxy.demo.identity"])

    assert ran.returncode == 0, ran.stderr


def test_it_serves_and_its_health_check_says_so(
    image: Image, ports: tuple[int, int], container: "subprocess.Popen[bytes]"
) -> None:
    wait_until(lambda: accepts(ports[1]), what="the admin listener")

    answer = httpx.get(f"http://127.0.0.1:{ports[0]}/", timeout=300, trust_env=False)
    check = image.run(image.command("HEALTHCHECK"))

    assert answer.status_code == 502
    assert answer.headers["via"].startswith("1.1 metaproxy")
    assert check.returncode == 0, check.stderr


def test_it_stops_when_it_is_told_and_has_written_no_file(
    image: Image, files_before: dict[str, float], container: "subprocess.Popen[bytes]"
) -> None:
    container.terminate()

    assert container.wait(30) == 0
    assert files(image) == files_before
