"""Clients whose TLS handshake fails: each is counted with a reason of its own, and logged now and then."""

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.deployment import Proxy, running_proxy
from tests.e2e.processes import wait_until
from tests.e2e.renewing import SECONDS, client, is_let_in
from tests.unit.forward.certificates import Authority

pytestmark = pytest.mark.e2e

NO_SERVER = "http://127.0.0.1:9"
COUNTED = re.compile(r'^metaproxy_tls_handshake_failures_total\{reason="(\w+)"\} ([0-9.]+)$', re.MULTILINE)


@dataclass
class Site:
    """A proxy that demands client certificates, and the authorities of its clients."""

    proxy: Proxy
    servers: Authority
    clients: Authority
    strangers: Authority

    def counted(self) -> dict[str, float]:
        """How many handshakes have failed for each reason that occurred."""
        text = httpx.get(f"{self.proxy.admin_url}/metrics", trust_env=False).text
        return {reason: float(number) for reason, number in COUNTED.findall(text) if float(number)}

    def events(self) -> list[dict[str, Any]]:
        """The events about handshakes that were logged."""
        lines = [json.loads(line) for line in self.proxy.server.output.splitlines()]
        return [line for line in lines if line["event"] == "TLS handshake failed"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    names = ("servers", "clients", "strangers")
    servers, clients, strangers = (Authority(tmp_path, name) for name in names)
    shown = servers.issue("server")
    tls = {"certificate": str(shown.certificate), "key": str(shown.key), "client_ca": str(clients.ca)}
    sections = {"server": {"tls": tls}}
    with running_proxy(tmp_path, upstream=NO_SERVER, identity=NO_SERVER, sections=sections) as proxy:
        yield Site(proxy, servers, clients, strangers)


def without_certificate(site: Site) -> None:
    assert not is_let_in(site.proxy, ssl.create_default_context(cafile=site.servers.ca))


def of_a_strange_authority(site: Site) -> None:
    assert not is_let_in(site.proxy, client(site.servers, site.strangers.issue("stranger")))


def expired(site: Site) -> None:
    assert not is_let_in(site.proxy, client(site.servers, site.clients.issue_expired("late")))


def that_trusts_another_authority(site: Site) -> None:
    assert not is_let_in(site.proxy, client(site.strangers, site.clients.issue("distrustful")))


def of_an_old_version(site: Site) -> None:
    send(site, hello(b"\x03\x02"))


def in_plain_http(site: Site) -> None:
    send(site, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


def of_another_protocol(site: Site) -> None:
    send(site, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")


def that_hangs_up_in_the_middle(site: Site) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = ssl.create_default_context(cafile=site.servers.ca).wrap_bio(
        incoming, outgoing, server_hostname="127.0.0.1"
    )
    with suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    with socket.create_connection(("127.0.0.1", site.proxy.port), timeout=SECONDS) as plain:
        plain.sendall(outgoing.read())
        assert plain.recv(65536)


def that_hangs_up_in_its_first_message(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.proxy.port), timeout=SECONDS) as plain:
        plain.sendall(hello(b"\x03\x03")[:20])


def hello(version: bytes) -> bytes:
    """The first message of a client that speaks no later version of TLS than ``version``."""
    ciphers = b"\xc0\x09\xc0\x0a\xc0\x13\xc0\x14\x00\x2f\x00\x35"
    body = version + bytes(32) + b"\0" + len(ciphers).to_bytes(2) + ciphers + b"\1\0"
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


def send(site: Site, octets: bytes) -> None:
    """Send ``octets`` and read until the proxy closes."""
    with socket.create_connection(("127.0.0.1", site.proxy.port), timeout=SECONDS) as plain:
        plain.sendall(octets)
        with suppress(ConnectionError):
            while plain.recv(65536):
                pass


CLIENTS: list[tuple[Callable[[Site], None], str]] = [
    (without_certificate, "no_certificate"),
    (of_a_strange_authority, "certificate_unknown_ca"),
    (expired, "certificate_expired"),
    (that_trusts_another_authority, "refused_by_client"),
    (of_an_old_version, "no_common_protocol"),
    (in_plain_http, "plain_http"),
    (of_another_protocol, "not_tls"),
    (that_hangs_up_in_the_middle, "unfinished"),
    (that_hangs_up_in_its_first_message, "unfinished"),
]


def reason_of(attempt: Callable[[Site], None], site: Site) -> str:
    """Return the reason that is counted once more after ``attempt``."""
    before = site.counted()
    attempt(site)
    wait_until(lambda: site.counted() != before, what=attempt.__name__)
    (reason,) = {reason for reason, number in site.counted().items() if number != before.get(reason, 0)}
    return reason


def test_each_client_whose_handshake_fails_is_counted_and_logged_with_its_reason(site: Site) -> None:
    reasons = {reason for _, reason in CLIENTS}
    found: dict[str, str] = {}
    for attempt, _ in CLIENTS:
        found[attempt.__name__] = reason_of(attempt, site)

    assert found == {attempt.__name__: reason for attempt, reason in CLIENTS}
    wait_until(lambda: len(site.events()) == len(reasons), what="a line for each reason")
    assert {event["reason"] for event in site.events()} == reasons
    assert all(event["cause"] for event in site.events())
    assert is_let_in(site.proxy, client(site.servers, site.clients.issue("welcome")))


def test_handshakes_that_fail_again_and_again_are_all_counted_and_logged_once(site: Site) -> None:
    for _ in range(50):
        in_plain_http(site)

    wait_until(lambda: site.counted() == {"plain_http": 50}, what="the count")
    assert [event["reason"] for event in site.events()] == ["plain_http"]


def test_a_client_that_is_let_in_and_a_probe_without_a_byte_are_not_counted(site: Site) -> None:
    welcome = client(site.servers, site.clients.issue("welcome"))
    for _ in range(5):
        socket.create_connection(("127.0.0.1", site.proxy.port), timeout=SECONDS).close()
        assert is_let_in(site.proxy, welcome)
    in_plain_http(site)

    wait_until(lambda: bool(site.counted()), what="the count")
    assert site.counted() == {"plain_http": 1}
