import shutil
import subprocess
from pathlib import Path

import pytest

from metaproxy.assembly.tls import TlsError, client_context, expiries, not_after, server_context
from metaproxy.config import Config
from metaproxy.config.files import Files
from metaproxy.config.model.server import ServerTls
from metaproxy.config.model.upstream import ClientTls
from tests.unit.assembly.configured import STATIC, config
from tests.unit.forward.certificates import Authority, Issued


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("server")


def test_a_context_is_made_of_what_was_read_not_of_what_is_on_the_disk_now(
    tmp_path: Path, issued: Issued
) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    shutil.copy(issued.certificate, certificate)
    shutil.copy(issued.key, key)
    files = Files()
    files.look_at([certificate, key])
    key.write_text("another key, half written")

    server_context(ServerTls(certificate=certificate, key=key), files)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"

    with pytest.raises(TlsError, match=r"server\.tls\.certificate: .*missing\.pem: No such file"):
        server_context(ServerTls(certificate=missing, key=missing), Files())


def test_a_certificate_that_is_none_is_named(tmp_path: Path, issued: Issued) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    with pytest.raises(TlsError, match=r"server\.tls\.certificate: .*nonsense\.pem: "):
        server_context(ServerTls(certificate=nonsense, key=issued.key), Files())


def test_the_key_of_another_certificate_is_named(authority: Authority, issued: Issued) -> None:
    another = authority.issue("another")

    with pytest.raises(TlsError, match=r"server\.tls\.key: .*another\.key: is not the key of .*server\.pem"):
        server_context(ServerTls(certificate=issued.certificate, key=another.key), Files())


@pytest.mark.parametrize("side", ["server", "client"])
def test_an_encrypted_key_is_refused_and_asks_nobody(tmp_path: Path, issued: Issued, side: str) -> None:
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkey", "-in", str(issued.key), "-aes128", "-passout", "pass:secret"]
    command += ["-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    named = {"certificate": issued.certificate, "key": encrypted}

    def context() -> None:
        if side == "server":
            server_context(ServerTls.model_validate(named), Files())
        else:
            client_context(ClientTls.model_validate(named), "upstream", Files())

    with pytest.raises(TlsError, match=r"tls\.key: .*encrypted\.key: the key is encrypted"):
        context()


def test_authorities_that_are_none_are_named(tmp_path: Path, issued: Issued) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    tls = ServerTls(certificate=issued.certificate, key=issued.key, client_ca=nonsense)

    with pytest.raises(TlsError, match=r"server\.tls\.client_ca: .*nonsense\.pem: "):
        server_context(tls, Files())


def with_certificate(folder: Path, issued: Issued) -> Config:
    plain = config(folder, STATIC)
    tls = ServerTls(certificate=issued.certificate, key=issued.key)
    return plain.model_copy(update={"server": plain.server.model_copy(update={"tls": tls})})


def test_the_end_of_a_certificate_is_what_openssl_says(issued: Issued) -> None:
    command = [
        "openssl",
        "x509",
        "-in",
        str(issued.certificate),
        "-noout",
        "-enddate",
        "-dateopt",
        "iso_8601",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    read_by_date = subprocess.run(
        ["date", "-u", "-d", said.removeprefix("notAfter="), "+%s"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert not_after(issued.certificate.read_bytes()) == float(read_by_date.stdout)


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_no_end(pem: bytes) -> None:
    assert not_after(pem) is None


def test_the_ends_are_those_of_the_certificates_that_are_shown(tmp_path: Path, issued: Issued) -> None:
    assert set(expiries(with_certificate(tmp_path, issued))) == {"server"}
