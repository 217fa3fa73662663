import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from metaproxy.config.addresses import ListenAddress
from metaproxy.preflight.addresses import nth
from metaproxy.server.listeners import (
    ListenError,
    bind,
    bind_all,
    close_all,
    describe,
    port_of,
)


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


@contextmanager
def listening(*addresses: ListenAddress, found: Sequence[str] = ()) -> Iterator[list[socket.socket]]:
    """Listen on ``addresses``; a name has the addresses ``found``."""

    def resolve(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6, 0, 0, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, 0, 0, "", (each, port))
            for each in found
        ]

    listeners = bind_all(addresses, resolve=resolve) if found else bind_all(addresses)
    try:
        yield listeners
    finally:
        close_all(listeners)


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def two_families(port: int) -> tuple[ListenAddress, ListenAddress]:
    return ListenAddress("0.0.0.0", port), ListenAddress("::", port)


@pytest.fixture
def ipv6() -> None:
    try:
        bind(ListenAddress("::1", 0)).close()
    except ListenError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("turned", [False, True])
def test_every_address_of_both_families_may_have_one_port(turned: bool) -> None:
    port = port_of(free := bind(ListenAddress("::", 0)))
    free.close()
    addresses = two_families(port)

    with listening(*(addresses[::-1] if turned else addresses)) as listeners:
        assert sorted(map(describe, listeners)) == [f"http://0.0.0.0:{port}", f"http://[::]:{port}"]
        assert reaches("127.0.0.1", port)
        assert reaches("::1", port)


@pytest.mark.usefixtures("ipv6")
def test_every_ipv6_address_alone_is_reached_by_ipv4_too() -> None:
    with listening(ListenAddress("::", 0)) as (listener,):
        assert reaches("127.0.0.1", port_of(listener))
        assert reaches("::1", port_of(listener))


def test_a_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    with listening(ListenAddress("a.name", 0), found=["127.0.0.1", "127.0.0.2"]) as listeners:
        port = port_of(listeners[0])
        assert [describe(each) for each in listeners] == [f"http://127.0.0.{n}:{port}" for n in (1, 2)]


def test_an_address_that_a_name_has_twice_is_bound_once() -> None:
    with listening(ListenAddress("a.name", 0), found=["127.0.0.1", "127.0.0.1"]) as listeners:
        assert len(listeners) == 1


ELSEWHERE = "203.0.113.77"
"""An address that no machine has (RFC 5737)."""


@pytest.mark.parametrize(
    "found", [["127.0.0.1", ELSEWHERE], [ELSEWHERE, "127.0.0.1"], ["127.0.0.1", "2001:db8::1"]]
)
def test_an_address_of_a_name_that_this_machine_lacks_is_left_out(found: list[str]) -> None:
    structlog.reset_defaults()  # other tests may have chosen a level
    with capture_logs() as logs, listening(ListenAddress("a.name", 0), found=found) as (listener,):
        assert describe(listener) == f"http://127.0.0.1:{port_of(listener)}"

    (missing,) = set(found) - {"127.0.0.1"}
    assert missing in str(logs)


def test_a_name_without_an_address_of_this_machine_is_an_error() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on a\.name:0: cannot assign"):
        bind_all(
            [ListenAddress("a.name", 0)],
            resolve=lambda *_, **__: [
                (socket.AF_INET, 0, 0, "", (address, 0)) for address in (ELSEWHERE, "203.0.113.78")
            ],
        )


def test_an_address_that_is_written_out_and_not_there_is_an_error() -> None:
    with pytest.raises(ListenError, match=rf"cannot listen on {ELSEWHERE}:0"):
        bind_all([ListenAddress("127.0.0.1", 0), ListenAddress(ELSEWHERE, 0)])


def test_a_port_that_is_taken_at_one_address_of_a_name_is_an_error() -> None:
    with bind(ListenAddress("127.0.0.2", 0)) as taken:
        port = port_of(taken)
        with (
            pytest.raises(ListenError, match="already in use"),
            listening(ListenAddress("a.name", port), found=["127.0.0.1", "127.0.0.2"]),
        ):
            pass
        assert not reaches("127.0.0.1", port)


def test_what_was_bound_before_an_error_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"

    with pytest.raises(ListenError):
        bind_all([ListenAddress(path=str(path)), ListenAddress(ELSEWHERE, 0)])

    assert not path.exists()


def test_the_path_of_a_unix_socket_is_removed_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"

    with listening(ListenAddress(path=str(path))):
        assert path.is_socket()

    assert not path.exists()


def test_a_path_that_another_process_has_taken_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"
    with listening(ListenAddress(path=str(path))):
        path.unlink()
        another = bind(ListenAddress(path=str(path)))

    with another, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_whose_process_accepts_nothing_any_more_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metaproxy.sock"
    with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as waiting:
        hanging.bind(str(path))
        hanging.listen(0)
        waiting.connect(str(path))  # the queue is full now

        with pytest.raises(ListenError, match="already in use"):
            bind(ListenAddress(path=str(path)))
