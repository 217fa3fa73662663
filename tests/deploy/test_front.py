"""What stands in front of metaproxy, with the snippets of deploy/front."""

import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.deploy.files import DEPLOY
from tests.e2e.conftest import folder, identity, scripted
from tests.e2e.deployment import RED_API, Sections, running_proxy
from tests.e2e.processes import accepts, wait_until
from tests.e2e.sockets import ScriptedUpstream
from tests.ports import HeldPorts
from tests.unit.forward.certificates import Authority, Issued

__all__ = ["folder", "identity", "scripted"]

FORGED = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Proto": "gopher"}


def snippet(name: str, first: int, second: int, port: int, issued: Issued) -> str:
    """A snippet with the ports of this test, and its certificate."""
    text = (DEPLOY / "front" / name).read_text()
    for there, here in (("10.0.0.11:8774", f"127.0.0.1:{first}"), ("10.0.0.12:8774", f"127.0.0.1:{second}")):
        assert there in text
        text = text.replace(there, here)
    text = re.sub(r"/etc/\w+/tls/compute\.pem", str(issued.certificate), text)
    text = re.sub(r"/etc/\w+/tls/compute\.key", str(issued.key), text)
    return re.sub(r"(listen |bind :)443", rf"\g<1>{port}", text)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def compute_example(authority: Authority) -> Issued:
    return authority.issue("compute.example")


@pytest.fixture(scope="module")
def front(
    tmp_path_factory: pytest.TempPathFactory,
    identity: str,
    scripted: ScriptedUpstream,
    compute_example: Issued,
    authority: Authority,
) -> Iterator[httpx.Client]:
    """A client of nginx, behind which one of two replicas is away."""
    if shutil.which("nginx") is None:
        pytest.skip("there is no nginx")
    home = tmp_path_factory.mktemp("nginx")
    sections: Sections = {"server": {"trusted_proxies": ["127.0.0.1/32"]}}
    with running_proxy(home / "p", upstream=scripted.url, identity=identity, sections=sections) as proxy:
        held = HeldPorts(2)
        port, nobody = held.numbers
        inner = snippet("nginx.conf", proxy.port, nobody, port, compute_example)
        configuration = home / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {home}/pid; error_log {home}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary(home)}\n{inner}\n}}\n"
        )
        command = ["nginx", "-e", str(home / "error.log"), "-p", str(home), "-c", str(configuration)]
        process = subprocess.Popen(command)
        try:
            wait_until(lambda: accepts(port) or process.poll() is not None, what="nginx")
            assert process.poll() is None, (home / "error.log").read_text()
            verify = ssl.create_default_context(cafile=str(authority.ca))
            headers = {"X-Auth-Token": ALICE.token}
            url = f"https://127.0.0.1:{port}"
            with httpx.Client(base_url=url, verify=verify, headers=headers, trust_env=False) as client:
                yield client
        finally:
            process.terminate()
            process.wait(20)
            held.close()


def temporary(home: Path) -> str:
    """Where nginx may write."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)


@pytest.mark.e2e
def test_behind_nginx_a_replica_that_is_away_costs_no_request(front: httpx.Client) -> None:
    reads = [front.get(f"{RED_API}/servers").status_code for _ in range(20)]
    writes = [front.post(f"{RED_API}/servers", content=b"x").status_code for _ in range(20)]

    assert (set(reads), set(writes)) == ({200}, {200})


@pytest.mark.e2e
def test_behind_nginx_what_a_client_says_of_itself_is_not_believed(
    front: httpx.Client, scripted: ScriptedUpstream
) -> None:
    scripted.heads.clear()

    front.get(f"{RED_API}/servers", headers=FORGED)

    (head,) = scripted.heads
    assert b"203.0.113.9" not in head
    assert b"gopher" not in head
    assert b"https" in head.lower()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")
def test_haproxy_understands_its_snippet(tmp_path: Path, compute_example: Issued) -> None:
    both = tmp_path / "both.pem"
    both.write_text(compute_example.certificate.read_text() + compute_example.key.read_text())
    written = snippet("haproxy.cfg", 8774, 8775, 8443, Issued(both, both))
    (tmp_path / "haproxy.cfg").write_text(written)

    ran = subprocess.run(
        ["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, timeout=60
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
