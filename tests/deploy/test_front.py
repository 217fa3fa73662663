"""HAProxy and nginx in front of metaproxy, with the files of deploy/front, under real requests."""

import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.deploy.fronts import HAProxy, haproxy, nginx, ports_of, snippet
from tests.e2e.conftest import folder, identity, scripted
from tests.e2e.deployment import RED_API, Proxy, Sections, running_proxy
from tests.e2e.processes import ServerProcess, wait_until
from tests.e2e.sockets import ScriptedUpstream, UpstreamConnection, always_ok
from tests.ports import HeldPorts
from tests.unit.forward.certificates import Authority, Issued

__all__ = ["folder", "identity", "scripted"]

FORGED = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Proto": "gopher"}
SERVERS = f"{RED_API}/servers"
ADMIN_TOKEN = "a-token-for-the-test"
TRUSTING: Sections = {
    "server": {"trusted_proxies": ["127.0.0.1/32"]},
    "admin": {"token": ADMIN_TOKEN},
}
"""The settings that the files of deploy/front ask for."""
FRONTS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"there is no {name}"))
    for name in ("nginx", "haproxy")
]
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def compute_example(authority: Authority) -> Issued:
    return authority.issue("compute.example")


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path is short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="front-") as name:
        yield Path(name)


@contextmanager
def replica(home: Path, upstream: str, identity: str, sections: Sections = TRUSTING) -> Iterator[Proxy]:
    with running_proxy(home, upstream=upstream, identity=identity, sections=sections) as proxy:
        until_ready(proxy)
        yield proxy


def until_ready(proxy: Proxy) -> None:
    """Wait until the replica says that it may be given requests."""
    proxy.until_ready()
    wait_until(
        lambda: httpx.get(f"{proxy.admin_url}/readyz", trust_env=False).is_success,
        what="the replica to be ready",
    )


@contextmanager
def client(url: str, authority: Authority) -> Iterator[httpx.Client]:
    verify = ssl.create_default_context(cafile=str(authority.ca))
    headers = {"X-Auth-Token": ALICE.token}
    with httpx.Client(base_url=url, verify=verify, headers=headers, timeout=300, trust_env=False) as asking:
        yield asking


def restart(proxy: Proxy) -> None:
    """Stop a replica as an orchestrator does, and start it anew on its address."""
    proxy.server.terminate()
    assert proxy.server.wait() == 0
    arguments = ["metaproxy", "serve", "--config", str(proxy.config)]
    proxy.server = ServerProcess(arguments, proxy.config.with_name("restarted.log"))
    until_ready(proxy)


def ok_to_one_octet(connection: UpstreamConnection, head: bytes) -> None:
    """Answer when the body has come: nginx ends a client's connection if an answer overtakes its body."""
    connection.read_exactly(1)
    always_ok(connection, head)


def is_in_use(proxy: Proxy) -> bool:
    """Say whether clients' requests have reached a replica since it was started."""
    return '"event":"request"' in proxy.server.output


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    identity: str,
    scripted: ScriptedUpstream,
    compute_example: Issued,
    authority: Authority,
) -> Iterator[httpx.Client]:
    """A client of a front, behind which one of two replicas is away."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="front-")))
        proxy = stack.enter_context(replica(home / "p", scripted.url, identity))
        away = stack.enter_context(HeldPorts(2))
        ports = [*ports_of(proxy), (away.numbers[0], away.numbers[1])]
        if request.param == "nginx":
            url = stack.enter_context(nginx(home, ports, compute_example))
        else:
            url = stack.enter_context(haproxy(home, ports, compute_example)).url
        yield stack.enter_context(client(url, authority))


@pytest.mark.e2e
def test_a_replica_that_is_away_costs_no_request(front: httpx.Client, scripted: ScriptedUpstream) -> None:
    reads = [front.get(SERVERS).status_code for _ in range(20)]
    scripted.script = ok_to_one_octet
    writes = [front.post(SERVERS, content=b"x").status_code for _ in range(20)]
    scripted.script = always_ok

    assert (set(reads), set(writes)) == ({200}, {200})


@pytest.mark.e2e
def test_what_a_client_says_of_itself_is_not_believed(
    front: httpx.Client, scripted: ScriptedUpstream
) -> None:
    scripted.heads.clear()

    front.get(SERVERS, headers=FORGED)

    (head,) = scripted.heads
    assert b"203.0.113.9" not in head
    assert b"gopher" not in head
    assert b"x-forwarded-for: 127.0.0.1" in head.lower()
    assert b"x-forwarded-proto: https" in head.lower()


@needs_haproxy
def test_haproxy_understands_its_file(tmp_path: Path, compute_example: Issued) -> None:
    both = tmp_path / "both.pem"
    both.write_text(compute_example.certificate.read_text() + compute_example.key.read_text())
    written = snippet("haproxy.cfg", [(8774, 9774), (8775, 9775)], 8443, Issued(both, both))
    (tmp_path / "haproxy.cfg").write_text(written)

    ran = subprocess.run(
        ["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WARNING" not in ran.stdout + ran.stderr


@pytest.fixture(params=[ADMIN_TOKEN, ""], ids=["token", "no token"])
def sections(request: pytest.FixtureRequest) -> Sections:
    """The settings that the comment in haproxy.cfg asks for, and an admin listener without a token."""
    return {**TRUSTING, "admin": {"token": request.param}}


@pytest.mark.e2e
@needs_haproxy
def test_haproxy_finds_a_live_replica_up_and_one_that_is_away_down(
    sections: Sections, short: Path, scripted: ScriptedUpstream, identity: str, compute_example: Issued
) -> None:
    with (
        replica(short / "p", scripted.url, identity, sections) as proxy,
        HeldPorts(2) as away,
        haproxy(short, [*ports_of(proxy), (away.numbers[0], away.numbers[1])], compute_example) as front,
    ):
        wait_until(lambda: front.state("second")[0] == "DOWN", what="the second to be found away")
        wait_until(lambda: front.state("first") == ("UP", "L7OK/200"), what=str(front.state("first")))


class Load:
    """Clients that ask without a pause until the end of the block; ``statuses`` of all answers."""

    def __init__(self, url: str, authority: Authority, clients: int = 4) -> None:
        self.statuses: list[int | str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, authority)) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def until_more(self) -> None:
        """Wait until fifty more requests have been answered."""
        goal = len(self.statuses) + 50
        wait_until(lambda: len(self.statuses) >= goal, what="fifty answers")

    def _ask(self, url: str, authority: Authority) -> None:
        with client(url, authority) as asking:
            while not self._end.is_set():
                try:
                    self.statuses.append(asking.get(SERVERS).status_code)
                except httpx.TransportError as error:
                    self.statuses.append(repr(error))


@pytest.mark.e2e
@pytest.mark.parametrize("kind", FRONTS)
def test_a_rolling_restart_fails_no_request(
    kind: str,
    short: Path,
    scripted: ScriptedUpstream,
    identity: str,
    compute_example: Issued,
    authority: Authority,
) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(replica(short / "one", scripted.url, identity))
        two = stack.enter_context(replica(short / "two", scripted.url, identity))
        ports = ports_of(one, two)
        if kind == "nginx":
            url = stack.enter_context(nginx(short, ports, compute_example))
        else:
            url = stack.enter_context(haproxy(short, ports, compute_example)).url
        with Load(url, authority) as load:
            for proxy in (one, two):
                load.until_more()
                restart(proxy)
                # The next one may go when this one is in use again: nginx leaves it alone for fail_timeout.
                wait_until(partial(is_in_use, proxy), what="the replica to get requests")

    assert set(load.statuses) == {200}, list(load.statuses).count(200)


@pytest.mark.e2e
@needs_haproxy
def test_a_replica_that_is_drained_at_haproxy_gets_no_more_requests(
    short: Path, scripted: ScriptedUpstream, identity: str, compute_example: Issued, authority: Authority
) -> None:
    with (
        replica(short / "one", scripted.url, identity) as one,
        replica(short / "two", scripted.url, identity) as two,
        haproxy(short, ports_of(one, two), compute_example) as front,
        client(front.url, authority) as asking,
    ):
        drained(front)
        before = one.server.output.count('"event":"request"')

        assert {asking.get(SERVERS).status_code for _ in range(20)} == {200}

        assert one.server.output.count('"event":"request"') == before
        front.say("set server metaproxy/first state ready")
        wait_until(lambda: front.state("first")[0] == "UP", what="the replica to be used again")


def drained(front: HAProxy) -> None:
    front.say("set server metaproxy/first state drain")
    wait_until(lambda: front.state("first")[0] == "DRAIN", what="the replica to be drained")
