"""A certificate is renewed while the proxy runs."""

import shutil
import socket
import ssl
from pathlib import Path

import pytest

from tests.e2e.deployment import Proxy, Sections, running_proxy
from tests.e2e.operating import Operator
from tests.e2e.processes import wait_until
from tests.unit.forward.certificates import Authority, Issued

pytestmark = pytest.mark.e2e


def put(issued: Issued, folder: Path) -> None:
    """Let ``issued`` be the certificate that the configuration names."""
    shutil.copy(issued.certificate, folder / "server.pem")
    shutil.copy(issued.key, folder / "server.key")


def shown(proxy: Proxy, authority: Authority) -> str:
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=authority.ca)
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        certificate = connection.getpeercert()
    assert certificate is not None
    subject: dict[str, str] = dict(pair for part in certificate["subject"] for pair in part)  # type: ignore[misc] # pairs
    return subject["commonName"]


def test_a_reload_takes_the_new_certificate_into_use_and_refuses_a_broken_one(
    tmp_path: Path, compute: str, identity: str
) -> None:
    authority = Authority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    put(first, tmp_path)
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    sections: Sections = {"server": {"tls": tls}}
    with (
        running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy,
        Operator(proxy) as operator,
    ):
        wait_until(lambda: operator.generation() == 1, what="the proxy")
        before = shown(proxy, authority)

        put(second, tmp_path)
        assert operator.change("/reload", {}).status_code == 200
        renewed = shown(proxy, authority)
        (tmp_path / "server.pem").write_text("no certificate")
        refused = operator.change("/reload", {})

        assert (before, renewed, shown(proxy, authority)) == ("first", "second", "second")
        assert refused.status_code == 422
        assert "server.pem" in str(refused.json()["problems"])
