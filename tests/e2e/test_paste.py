"""metaproxy inside a PasteDeploy pipeline, under real WSGI servers, over real sockets."""

import configparser
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import ROOT, ServerProcess, accepts, wait_until
from tests.ports import HeldPorts
from tests.wsgi.pipeline import ALICE, CHUNK, CHUNKS, ITEM, write_config

pytestmark = pytest.mark.e2e

Arguments = Callable[[Path, int], list[str]]


def gunicorn(folder: Path, port: int) -> list[str]:
    return ["gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "--preload", "serving:application"]


def waitress(folder: Path, port: int) -> list[str]:
    return ["waitress", f"--listen=127.0.0.1:{port}", "serving:application"]


def write_pipeline(folder: Path) -> None:
    """Write a pipeline of the deployment's filter and the tests' application in the place of Nova."""
    write_config(folder)
    deployed = configparser.ConfigParser(interpolation=None)
    deployed.read(ROOT / "deploy/paste/api-paste.ini")
    ini = configparser.ConfigParser(interpolation=None)
    ini["filter:metaproxy"] = dict(deployed["filter:metaproxy"])
    ini["pipeline:compute_v21"] = {"pipeline": "metaproxy compute_api"}
    ini["app:compute_api"] = {"paste.app_factory": "tests.wsgi.pipeline:factory"}
    with (folder / "api-paste.ini").open("w") as file:
        ini.write(file)
    (folder / "serving.py").write_text(
        "from paste.deploy import loadapp\n"
        f"application = loadapp('config:{folder}/api-paste.ini', name='compute_v21')\n"
    )


@pytest.fixture(scope="module", params=[gunicorn, waitress], ids=lambda server: server.__name__)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pipeline under each of the servers."""
    arguments: Arguments = request.param
    folder = tmp_path_factory.mktemp(arguments.__name__)
    write_pipeline(folder)
    with HeldPorts() as held:
        server = ServerProcess(arguments(folder, held.first), folder / "server.log")
        try:
            server.until(lambda: accepts(held.first))
            yield f"http://127.0.0.1:{held.first}"
        finally:
            server.stop()


@pytest.fixture
def alice(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers=ALICE, timeout=300, trust_env=False) as client:
        yield client


def test_a_token_is_needed(url: str) -> None:
    assert httpx.get(url + ITEM, trust_env=False).status_code == 401


def test_the_api_is_told_who_asks_and_nothing_forged(alice: httpx.Client) -> None:
    forged = {"X-Roles": "admin", "X_User_Id": "forged"}
    told = alice.get(f"{ITEM}?fresh=1", headers=forged).json()
    assert (told["HTTP_X_USER_ID"], told["HTTP_X_ROLES"]) == ("u1", "member")


def test_a_second_read_comes_from_memory(alice: httpx.Client) -> None:
    first, second = alice.get(ITEM), alice.get(ITEM)
    assert second.headers["Cache-Status"].startswith("metaproxy; hit")
    assert second.json() == first.json()
    for name in ("Date", "Via", "X-Compute-Request-Id"):
        assert len(second.headers.get_list(name)) == 1


def test_a_write_is_refused_above_its_rate(alice: httpx.Client) -> None:
    assert [alice.delete(ITEM).status_code for _ in range(2)] == [200, 413]


def test_bodies_stream_both_ways(alice: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK

    answer = alice.post("/v2.1/p1/echo", content=body())
    assert (answer.status_code, len(answer.content)) == (201, CHUNKS * len(CHUNK))
    with alice.stream("GET", "/v2.1/p1/stream") as streamed:
        assert sum(map(len, streamed.iter_bytes())) == CHUNKS * len(CHUNK)


def test_an_escaped_slash_is_refused(alice: httpx.Client) -> None:
    assert alice.get(ITEM.replace("/metadata", "%2Fmetadata")).status_code == 400


def test_a_fault_is_the_compute_apis_own(alice: httpx.Client) -> None:
    answer = alice.get("/v2.1/p1/broken")
    assert (answer.status_code, list(json.loads(answer.content))) == (500, ["computeFault"])


def test_a_server_that_is_told_to_stop_stops(tmp_path: Path) -> None:
    held = HeldPorts()
    port = held.first
    write_pipeline(tmp_path)
    server = ServerProcess(gunicorn(tmp_path, port), tmp_path / "server.log")
    try:
        server.until(lambda: accepts(port))
        httpx.get(f"http://127.0.0.1:{port}{ITEM}", headers=ALICE, trust_env=False)
        server.terminate()
        wait_until(lambda: server.process.poll() is not None, what="gunicorn to end")
        assert server.process.returncode == 0
    finally:
        server.stop()
