"""Failures of the upstream's TLS name their cause in the event log, and the target in the access log."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import wait_until
from tests.e2e.stalled import LoggingProxy, logging_proxy
from tests.e2e.test_logs import folder
from tests.unit.forward.certificates import Authority, Issued

__all__ = ["folder"]

pytestmark = pytest.mark.e2e

READ = "/v2.1/p/servers"


@contextmanager
def tls_server(issued: Issued) -> Iterator[str]:
    """A server that shows ``issued`` and gets no further with a client that refuses it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@contextmanager
def proxy_before(url: str, ca: Path, folder: Path, **health: object) -> Iterator[LoggingProxy]:
    """A proxy whose upstream is ``url``; its logs are the files ``access`` and ``events``."""
    upstream: dict[str, object] = {
        "targets": [url],
        "tls": {"ca": str(ca)},
        "health": {"interval": "10m", **health},
    }
    with (
        (folder / "access").open("wb") as access,
        (folder / "events").open("wb") as events,
        logging_proxy(folder, access.fileno(), events.fileno(), upstream=upstream) as proxy,
    ):
        yield proxy


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def ask(proxy: LoggingProxy) -> httpx.Response:
    transport = httpx.HTTPTransport(uds=str(proxy.data))
    with httpx.Client(transport=transport, base_url="http://api", timeout=300) as client:
        return client.get(READ, headers={"X-Auth-Token": "t"})


CASES = [
    ("expired", "certificate has expired"),
    ("wrong name", "IP address mismatch"),
    ("unknown authority", "unable to get local issuer certificate"),
]


def certificate(case: str, authority: Authority) -> Issued:
    match case:
        case "expired":
            return authority.issue_expired("compute")
        case "wrong name":
            return authority.issue("compute", "DNS:elsewhere.example")
        case _:
            return authority.issue("compute")


@pytest.mark.parametrize(("case", "cause"), CASES)
def test_an_upstream_certificate_that_is_refused_names_the_cause_and_the_target(
    folder: Path, case: str, cause: str
) -> None:
    authority = Authority(folder)
    ca = Authority(folder, "stranger").ca if case == "unknown authority" else authority.ca
    with (
        tls_server(certificate(case, authority)) as url,
        proxy_before(url, ca, folder) as proxy,
    ):
        answers = [ask(proxy) for _ in range(3)]
        assert proxy.terminate() == 0

    assert {answer.status_code for answer in answers} == {502}
    assert all(cause not in answer.text for answer in answers)
    failed = [event for event in lines(folder / "events") if event["event"] == "upstream failed"]
    assert [(event["target"], event["reason"]) for event in failed] == [(url, "upstream_tls")]
    assert cause in failed[0]["cause"]
    written = lines(folder / "access")
    assert [(line["upstream"], line["reason"]) for line in written] == [(url, "upstream_tls")] * 3


def test_a_target_that_becomes_unhealthy_says_why(folder: Path) -> None:
    authority = Authority(folder)
    # The first check is made at the start, and may take as long as the interval: a busy machine needs some.
    with (
        tls_server(authority.issue_expired("compute")) as url,
        proxy_before(url, authority.ca, folder, path="/", interval="30s", unhealthy_after=1) as proxy,
    ):

        def told() -> list[dict[str, Any]]:
            return [event for event in lines(folder / "events") if event["event"] == "upstream health"]

        wait_until(lambda: bool(told()), what="the event")
        assert proxy.terminate() == 0

    assert [(event["target"], event["healthy"]) for event in told()] == [(url, False)]
    assert "certificate has expired" in told()[0]["reason"]
