import socket
import stat
from pathlib import Path

import pytest

from metaproxy.config.addresses import ListenAddress
from metaproxy.server.listeners import ListenError, bind, describe, nth, port_of, tls_context


def test_port_0_is_any_free_port() -> None:
    with bind(ListenAddress("127.0.0.1", 0)) as listener:
        assert port_of(listener) > 0
        assert describe(listener) == f"http://127.0.0.1:{port_of(listener)}"
        assert describe(listener, tls=True).startswith("https://")


def test_an_ipv6_address_is_told_in_brackets() -> None:
    try:
        listener = bind(ListenAddress("::1", 0))
    except ListenError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert describe(listener) == f"http://[::1]:{port_of(listener)}"


def test_a_taken_port_is_named() -> None:
    with bind(ListenAddress("127.0.0.1", 0)) as listener:
        port = port_of(listener)
        with pytest.raises(ListenError, match=rf"^cannot listen on 127.0.0.1:{port}: address already in use"):
            bind(ListenAddress("127.0.0.1", port))


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"

    with bind(ListenAddress(path=str(path))) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert describe(listener) == f"unix:{path}"
        assert port_of(listener) == 0


def test_a_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"
    bind(ListenAddress(path=str(path))).close()

    with bind(ListenAddress(path=str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"

    with bind(ListenAddress(path=str(path))), pytest.raises(ListenError, match="already in use"):
        bind(ListenAddress(path=str(path)))


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(ListenError, match="a file that is no socket"):
        bind(ListenAddress(path=str(path)))
    assert path.read_text() == "data"


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no such file or directory"):
        bind(ListenAddress(path=str(tmp_path / "none" / "x.sock")))


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"

    with pytest.raises(ListenError, match=r"missing\.pem: No such file"):
        tls_context(missing, missing, None)


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    with pytest.raises(ListenError, match=r"nonsense.pem: "):
        tls_context(nonsense, nonsense, None)


@pytest.mark.parametrize(
    ("address", "number", "expected"),
    [
        (ListenAddress("127.0.0.1", 9774), 0, "127.0.0.1:9774"),
        (ListenAddress("127.0.0.1", 9774), 2, "127.0.0.1:9776"),
        (ListenAddress("127.0.0.1", 0), 2, "127.0.0.1:0"),
        (ListenAddress(path="/run/admin.sock"), 0, "unix:/run/admin.sock"),
        (ListenAddress(path="/run/admin.sock"), 1, "unix:/run/admin.sock.1"),
    ],
)
def test_every_worker_has_an_admin_address_of_its_own(
    address: ListenAddress, number: int, expected: str
) -> None:
    assert str(nth(address, number)) == expected
