"""TLS files: each way in which one cannot be used, told with the key that names it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from metaproxy.clock import wall
from metaproxy.preflight import Machine
from tests.unit.forward.certificates import Authority, Issued
from tests.unit.preflight.configured import ROOMY, said

DAY = 86400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("server")


def of_server(
    folder: Path, certificate: str = "server.pem", key: str = "server.key", **more: str
) -> list[str]:
    also = "".join(f", {name}: {value}" for name, value in more.items())
    tls = f"{{certificate: {certificate}, key: {key}{also}}}"
    return said(folder, server=f"{{listen: 127.0.0.1:0, tls: {tls}}}")


def later(seconds: float) -> Machine:
    return Machine(time=lambda: wall() + seconds, binds_any_port=True)


def test_a_pair_that_fits_needs_no_word(tmp_path: Path, issued: Issued) -> None:
    assert of_server(tmp_path, client_ca="authority.pem") == []


def test_a_missing_certificate_and_a_missing_key_are_both_reported(tmp_path: Path) -> None:
    assert of_server(tmp_path) == [
        "metaproxy.yaml:1: server.tls.certificate: server.pem: no such file",
        "metaproxy.yaml:1: server.tls.key: server.key: no such file",
    ]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.write_bytes(b"\n \n"), "is empty"),
        (lambda file: (file.unlink(), file.mkdir()), "is a folder, not a file"),
        (lambda file: (file.unlink(), file.symlink_to("gone")), "no such file"),
        (
            lambda file: (file.unlink(), file.symlink_to(file.name)),
            "cannot be read: too many levels of symbolic links",
        ),
        (lambda file: file.write_text("hello\n"), "holds no private key in PEM"),
        (
            lambda file: file.write_bytes(b"\x30\x82\x01\x00"),
            "is DER, not PEM: convert it with openssl pkey -inform DER",
        ),
    ],
)
def test_a_key_that_cannot_be_read_is_told_apart(
    tmp_path: Path, issued: Issued, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(issued.key)

    assert of_server(tmp_path) == [f"metaproxy.yaml:1: server.tls.key: server.key: {reason}"]


def test_a_certificate_and_a_key_that_were_swapped_are_named(tmp_path: Path, issued: Issued) -> None:
    assert of_server(tmp_path, certificate="server.key", key="server.pem") == [
        "metaproxy.yaml:1: server.tls.certificate: server.key: holds a private key in place of a certificate",
        "metaproxy.yaml:1: server.tls.key: server.pem: holds a certificate in place of a private key",
    ]


def test_a_key_of_another_certificate_is_refused(
    tmp_path: Path, authority: Authority, issued: Issued
) -> None:
    authority.issue("other")

    assert of_server(tmp_path, key="other.key") == [
        "metaproxy.yaml:1: server.tls.key: other.key: does not belong to the certificate server.pem"
    ]


def test_an_encrypted_key_is_refused_without_a_question(
    tmp_path: Path, authority: Authority, issued: Issued
) -> None:
    authority.encrypt(issued)

    assert of_server(tmp_path) == [
        "metaproxy.yaml:1: server.tls.key: server.key: is encrypted, and metaproxy asks for no password: "
        "decrypt it with openssl pkey, into a file that only metaproxy can read"
    ]


@pytest.mark.parametrize("name", ["server.key", "server.pem"])
def test_a_file_without_an_authority_is_no_client_ca(tmp_path: Path, issued: Issued, name: str) -> None:
    assert len(found := of_server(tmp_path, client_ca=name)) == 1
    assert found[0].startswith(f"metaproxy.yaml:1: server.tls.client_ca: {name}: holds ")


def test_an_expired_certificate_is_a_warning_with_its_date(tmp_path: Path, issued: Issued) -> None:
    tls = "{listen: 127.0.0.1:0, tls: {certificate: server.pem, key: server.key}}"

    found = said(tmp_path, later(3 * DAY), server=tls)

    assert len(found) == 1
    assert found[0].startswith("metaproxy.yaml:1: server.tls.certificate: warning: server.pem: expired on 20")


def test_a_certificate_of_tomorrow_is_a_warning_with_its_date(tmp_path: Path, issued: Issued) -> None:
    tls = "{listen: 127.0.0.1:0, tls: {certificate: server.pem, key: server.key}}"

    found = said(tmp_path, later(-DAY), server=tls)

    assert len(found) == 1
    assert "server.pem: is not valid before 20" in found[0]


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("upstream", "{{targets: [https://127.0.0.1:1], tls: {tls}}}"),
        (
            "identity",
            "{{provider: keystone-v3, url: https://k/v3, tls: {tls}, "
            "login: {{user_id: u, password: '${{PASSWORD}}'}}}}",
        ),
    ],
)
def test_the_files_for_calling_a_server_are_looked_at_too(
    tmp_path: Path, issued: Issued, authority: Authority, name: str, section: str
) -> None:
    authority.issue("other")
    tls = "{ca: server.key, certificate: server.pem, key: other.key}"

    found = said(tmp_path, ROOMY, **{name: section.format(tls=tls)})

    line = 3 if name == "upstream" else 4
    assert found == [
        f"metaproxy.yaml:{line}: {name}.tls.key: other.key: does not belong to the certificate server.pem",
        f"metaproxy.yaml:{line}: {name}.tls.ca: server.key: holds a private key in place of a certificate",
    ]


def test_authorities_of_which_all_have_expired_are_a_warning(tmp_path: Path, authority: Authority) -> None:
    upstream = "{targets: [https://127.0.0.1:1], tls: {ca: authority.pem}}"

    found = said(tmp_path, later(3 * DAY), upstream=upstream)

    assert [line.partition(" on ")[0] for line in found] == [
        "metaproxy.yaml:3: upstream.tls.ca: warning: authority.pem: expired"
    ]
    assert said(tmp_path, ROOMY, upstream=upstream) == []
