"""Files that the configuration names are renewed while the proxy runs, in every worker."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.operating import Operator, rewrite
from tests.e2e.processes import ROOT, accepts, children, gone, wait_until
from tests.e2e.renewing import (
    REQUEST,
    SECONDS,
    client,
    handshake,
    is_let_in,
    name_in,
    only,
    put,
    put_pair,
    shown,
)
from tests.unit.forward.certificates import Authority

pytestmark = pytest.mark.e2e

NO_SERVER = "http://127.0.0.1:9"


@dataclass
class Site:
    """A proxy with two workers that demands client certificates, and those who issue certificates."""

    folder: Path
    proxy: Proxy
    servers: Authority
    clients: Authority

    @property
    def workers(self) -> list[int]:
        return children(self.proxy.server.process.pid)

    def seen(self, look: Callable[[], object]) -> list[object]:
        """What ``look`` finds at each worker."""
        found = []
        for worker in self.workers:
            with only(self.proxy, worker):
                found.append(look())
        return found

    def trigger(self, how: str) -> None:
        match how:
            case "SIGHUP":
                before = self.generations()
                self.proxy.server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: self.generations() != before, what="the reload")
            case "command":
                command = [sys.executable, "-m", "metaproxy", "reload", "--admin", self.proxy.admin_url]
                subprocess.run(command, check=True, cwd=ROOT, timeout=SECONDS, capture_output=True)

    def generations(self) -> list[int]:
        with Operator(self.proxy) as first, Operator(self.proxy, worker=1) as second:
            return [first.generation(), second.generation()]


def tls(folder: Path) -> dict[str, str]:
    return {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}


def two_workers(folder: Path, **more: str) -> Sections:
    server = {"workers": 2, "tls": tls(folder) | more, "shutdown_grace": "2s"}
    return {"server": server}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("servers"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    clients = Authority(folder, "clients")
    put_pair(authority.issue("initial"), folder)
    put(folder / "trusted.pem", clients.ca, "written")
    sections = two_workers(folder, client_ca=str(folder / "trusted.pem"))
    with running_proxy(folder, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy:
        site = Site(folder, proxy, authority, clients)
        wait_until(lambda: len(site.workers) == 2 and _answers(site), what="two workers")
        yield site


HOW = ("written", "renamed", "linked", "deleted")
TRIGGERS = ("watch", "SIGHUP", "command")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_new_certificate_is_shown_by_every_worker(site: Site, how: str, trigger: str) -> None:
    name = f"{how}-{trigger}"
    issued = site.servers.issue(name)
    trusted = client(site.servers, site.clients.issue("someone"))

    def names() -> object:
        with handshake(site.proxy, trusted) as connection:
            return name_in(connection.getpeercert())

    put_pair(issued, site.folder, how)
    site.trigger(trigger)

    if trigger == "watch":
        wait_until(lambda: site.seen(names) == [name, name], what="the watch")
    assert site.seen(names) == [name, name]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_removed_authority_is_not_trusted_and_a_new_one_is(site: Site, how: str, trigger: str) -> None:
    removed = client(site.servers, site.clients.issue("old-client"))
    clients = Authority(site.folder, f"clients-{how}-{trigger}")
    added = client(site.servers, clients.issue("new-client"))
    before = site.seen(lambda: (is_let_in(site.proxy, removed), is_let_in(site.proxy, added)))

    put(site.folder / "trusted.pem", clients.ca, how)
    site.clients = clients
    site.trigger(trigger)

    if trigger == "watch":
        wait_until(lambda: all(site.seen(lambda: is_let_in(site.proxy, added))), what="the watch")
    after = site.seen(lambda: (is_let_in(site.proxy, removed), is_let_in(site.proxy, added)))
    assert before == [(True, False)] * 2
    assert after == [(False, True)] * 2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_before_does_not_spare_a_client_its_certificate(
    site: Site, version: ssl.TLSVersion
) -> None:
    removed = client(site.servers, site.clients.issue("resumed"))
    removed.minimum_version = removed.maximum_version = version
    worker = site.workers[0]
    with only(site.proxy, worker), handshake(site.proxy, removed) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(64)
        session = connection.session
    clients = Authority(site.folder, f"clients-{version.name}")
    with only(site.proxy, worker):
        is_resumed = is_let_in(site.proxy, removed, session)

    put(site.folder / "trusted.pem", clients.ca, "renamed")
    site.clients = clients
    site.trigger("command")

    with only(site.proxy, worker):
        assert (is_resumed, is_let_in(site.proxy, removed, session)) == (True, False)


def test_a_connection_of_a_removed_authority_is_closed(site: Site) -> None:
    removed = client(site.servers, site.clients.issue("connected"))
    with handshake(site.proxy, removed) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        clients = Authority(site.folder, "clients-of-later")
        put(site.folder / "trusted.pem", clients.ca, "renamed")
        site.clients = clients
        site.trigger("command")

        while connection.recv(65536):
            pass


def test_a_handshake_that_began_under_a_removed_authority_leads_to_no_request(site: Site) -> None:
    removed = client(site.servers, site.clients.issue("slow"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    slow = removed.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", site.proxy.port), timeout=SECONDS) as plain:
        with pytest.raises(ssl.SSLWantReadError):
            slow.do_handshake()
        plain.sendall(outgoing.read())
        incoming.write(plain.recv(65536))
        clients = Authority(site.folder, "clients-after-the-hello")
        put(site.folder / "trusted.pem", clients.ca, "renamed")
        site.clients = clients
        site.trigger("command")

        slow.do_handshake()
        slow.write(REQUEST)
        plain.sendall(outgoing.read())
        answer = read_all(plain)

        incoming.write(answer)
        assert b"HTTP/1.1" not in decrypted(slow)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection ends."""
    octets = b""
    with suppress(ConnectionError):
        while more := connection.recv(65536):
            octets += more
    return octets


def decrypted(connection: ssl.SSLObject) -> bytes:
    """What the other side has sent inside TLS."""
    octets = b""
    with suppress(ssl.SSLError):
        while more := connection.read(65536):
            octets += more
    return octets


@contextmanager
def site_of(folder: Path, authority: Authority, *arguments: str) -> Iterator[Site]:
    """Run a proxy with two workers that shows a certificate and demands none."""
    folder.mkdir(exist_ok=True)
    put_pair(authority.issue("before"), folder)
    with running_proxy(
        folder,
        upstream=NO_SERVER,
        identity=NO_SERVER,
        sections=two_workers(folder),
        arguments=arguments,
    ) as proxy:
        site = Site(folder, proxy, authority, authority)
        wait_until(lambda: len(site.workers) == 2 and _answers(site), what="two workers")
        yield site


def kill_one(site: Site) -> None:
    """Kill the first worker, and wait until another has taken its place."""
    killed = site.workers[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in site.workers and len(site.workers) == 2, what="the next worker")
    wait_until(lambda: _answers(site), what="the next worker to serve")


def _answers(site: Site) -> bool:
    try:
        return len(site.generations()) == 2
    except Exception:
        return False


def test_a_worker_that_is_started_again_shows_the_certificate_of_its_siblings(
    tmp_path: Path, authority: Authority
) -> None:
    with site_of(tmp_path, authority) as site:
        put_pair(authority.issue("renewed"), tmp_path)
        rewrite(site.proxy, {"via": {"pseudonym": "renewed"}})
        site.trigger("command")

        kill_one(site)

        assert site.seen(lambda: shown(site.proxy, authority)) == ["renewed"] * 2
        with Operator(site.proxy) as first, Operator(site.proxy, worker=1) as second:
            states = [operator.read("/config") for operator in (first, second)]
        assert states[0]["generation"] == states[1]["generation"]
        assert [state["config"]["via"]["pseudonym"] for state in states] == ["renewed"] * 2


@pytest.mark.parametrize("broken", [True, False])
def test_without_a_watch_a_worker_begins_with_what_was_reloaded_not_with_what_is_on_the_disk(
    tmp_path: Path, authority: Authority, broken: bool
) -> None:
    with site_of(tmp_path, authority, "--no-watch") as site:
        put_pair(authority.issue("reloaded"), tmp_path)
        site.trigger("command")
        generations = site.generations()
        put_pair(authority.issue("later"), tmp_path)
        if broken:
            (tmp_path / "server.pem").write_text("broken")
            site.proxy.config.write_text("broken: [")

        kill_one(site)

        assert site.seen(lambda: shown(site.proxy, authority)) == ["reloaded"] * 2
        assert site.generations() == generations


def test_half_a_pair_is_refused_and_changes_nothing_until_the_other_half_comes(
    tmp_path: Path, authority: Authority
) -> None:
    with site_of(tmp_path, authority) as site, Operator(site.proxy) as operator:
        both = authority.issue("both")

        put(tmp_path / "server.pem", both.certificate, "renamed")
        wait_until(lambda: bool(operator.read("/config")["problems"]), what="the refusal")
        halved = site.seen(lambda: shown(site.proxy, authority))
        problems = operator.read("/config")["problems"]
        put(tmp_path / "server.key", both.key, "renamed")

        wait_until(lambda: operator.generation() == 2, what="the other half")
        assert site.seen(lambda: shown(site.proxy, authority)) == ["both"] * 2
        assert halved == ["before"] * 2
        assert "server.tls.key" in str(problems)


def test_tls_that_is_switched_off_needs_a_restart_and_the_certificate_is_renewed_until_then(
    tmp_path: Path, authority: Authority
) -> None:
    with site_of(tmp_path, authority) as site, Operator(site.proxy) as operator:
        rewrite(site.proxy, {"server": {"tls": None}})
        put_pair(authority.issue("still-renewed"), tmp_path)

        answer = operator.change("/reload", {}).json()

        assert answer["needs_restart"] == ["server.tls"]
        assert site.seen(lambda: shown(site.proxy, authority)) == ["still-renewed"] * 2


def test_other_paths_for_the_certificate_are_taken(tmp_path: Path, authority: Authority) -> None:
    with site_of(tmp_path, authority) as site, Operator(site.proxy) as operator:
        other = authority.issue("elsewhere")
        paths = {"certificate": str(other.certificate), "key": str(other.key)}
        rewrite(site.proxy, {"server": {"tls": paths}})

        answer = operator.change("/reload", {}).json()

        assert answer["needs_restart"] == []
        assert site.seen(lambda: shown(site.proxy, authority)) == ["elsewhere"] * 2


def test_without_a_watch_nothing_is_noticed(tmp_path: Path, authority: Authority) -> None:
    with site_of(tmp_path, authority, "--no-watch") as site, site_of(tmp_path / "b", authority) as watched:
        for each in (site, watched):
            put_pair(authority.issue("noticed"), each.folder)

        wait_until(lambda: watched.generations() == [2, 2], what="the proxy that watches")

        assert site.generations() == [1, 1]


def test_workers_leave_when_their_supervisor_is_killed_and_another_start_can_listen(
    tmp_path: Path, authority: Authority
) -> None:
    with site_of(tmp_path, authority) as site:
        workers = site.workers

        site.proxy.server.process.kill()
        site.proxy.server.wait()

        wait_until(lambda: all(gone(worker) for worker in workers), what="the workers to leave")
        again = site.proxy.start_again()
        try:
            again.until(lambda: is_open(site.proxy, authority))
        finally:
            again.stop()


def test_workers_leave_when_their_supervisor_is_killed_while_it_starts(
    tmp_path: Path, authority: Authority
) -> None:
    with site_of(tmp_path, authority) as site:
        site.proxy.server.stop()
        starting = site.proxy.start_again()
        wait_until(lambda: bool(children(starting.process.pid)), what="a worker")
        workers = children(starting.process.pid)

        starting.process.kill()
        starting.wait()

        wait_until(lambda: all(gone(worker) for worker in workers), what="the workers to leave")
        assert not accepts(site.proxy.port)


def is_open(proxy: Proxy, authority: Authority) -> bool:
    try:
        return bool(shown(proxy, authority))
    except OSError:
        return False


def test_the_end_of_each_certificate_is_a_metric(site: Site) -> None:
    with Operator(site.proxy) as operator:
        numbers = operator.client.get("/metrics").text
    assert 'metaproxy_tls_certificate_not_after_seconds{name="server"} ' in numbers


def test_a_certificate_that_ends_soon_is_told_at_the_start(site: Site) -> None:
    assert "certificate expires soon" in site.proxy.server.output
