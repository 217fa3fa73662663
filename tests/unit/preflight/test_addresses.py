"""Addresses: which of them clash, which are not of this machine, and which lead back to metaproxy."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from metaproxy.preflight import Machine
from tests.unit.preflight.configured import ROOMY, said

SAME = "is the same address as"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name is short enough for the path of a unix socket."""
    return tmp_path_factory.mktemp("s")


@pytest.mark.parametrize(
    ("listen", "admin", "expected"),
    [
        ("127.0.0.1:7001", "127.0.0.1:7001", f"2: admin.listen[0]: 127.0.0.1:7001 {SAME} 127.0.0.1:7001"),
        ("0.0.0.0:7001", "127.0.0.1:7001", f"2: admin.listen[0]: 127.0.0.1:7001 {SAME} 0.0.0.0:7001"),
        ("127.0.0.1:7001", "localhost:7001", f"2: admin.listen[0]: localhost:7001 {SAME} 127.0.0.1:7001"),
        ("'[::]:7001'", "127.0.0.1:7001", f"2: admin.listen[0]: 127.0.0.1:7001 {SAME} [::]:7001"),
        ("'[::]:7001'", "'[::1]:7001'", f"2: admin.listen[0]: [::1]:7001 {SAME} [::]:7001"),
        ("unix:/tmp/a", "unix:/tmp/a", f"2: admin.listen[0]: unix:/tmp/a {SAME} unix:/tmp/a"),
    ],
)
def test_one_address_for_clients_and_for_the_operator_is_refused(
    tmp_path: Path, listen: str, admin: str, expected: str
) -> None:
    found = said(tmp_path, server=f"{{listen: {listen}}}", admin=f"{{listen: {admin}}}")

    assert found == [f"metaproxy.yaml:{expected} of server.listen"]


@pytest.mark.parametrize(
    ("listen", "admin"),
    [
        ("127.0.0.1:7001", "127.0.0.1:7002"),
        ("127.0.0.1:7001", "127.0.0.2:7001"),
        ("['0.0.0.0:7001', '[::]:7001']", "127.0.0.1:7002"),
        ("['127.0.0.1:7001', '[::]:7001']", "127.0.0.1:7002"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ],
)
def test_addresses_that_differ_are_not_refused(tmp_path: Path, listen: str, admin: str) -> None:
    assert said(tmp_path, server=f"{{listen: {listen}}}", admin=f"{{listen: {admin}}}") == []


def test_an_address_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    assert said(tmp_path, server="{listen: ['127.0.0.1:7001', '127.0.0.1:7001']}") == [
        f"metaproxy.yaml:1: server.listen[1]: 127.0.0.1:7001 {SAME} 127.0.0.1:7001 of server.listen"
    ]


def test_the_ports_of_further_workers_count(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        server="{listen: 127.0.0.1:7002, workers: 3}",
        admin="{listen: 127.0.0.1:7000}",
        store="{url: 'redis://127.0.0.1'}",
    )

    assert found == [
        f"metaproxy.yaml:2: admin.listen[0]: 127.0.0.1:7002 of worker 2 {SAME} 127.0.0.1:7002 "
        "of server.listen"
    ]


def test_a_port_of_a_further_worker_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        server="{listen: 127.0.0.1:0, workers: 2}",
        admin="{listen: 127.0.0.1:65535}",
        store="{url: 'redis://127.0.0.1'}",
    )

    assert found == [
        "metaproxy.yaml:2: admin.listen[0]: 127.0.0.1:65536: a port is at most 65535, "
        "and each worker takes one more"
    ]


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    assert said(tmp_path, server="{listen: 203.0.113.9:7001}") == [
        "metaproxy.yaml:1: server.listen[0]: 203.0.113.9:7001: is not an address of this machine"
    ]


def test_a_name_without_an_address_is_refused(tmp_path: Path) -> None:
    assert said(tmp_path, server="{listen: nowhere.invalid:7001}") == [
        "metaproxy.yaml:1: server.listen[0]: nowhere.invalid:7001: the name has no address"
    ]


def test_a_privileged_port_without_the_right_is_refused(tmp_path: Path) -> None:
    machine = Machine(binds_any_port=False, first_free_port=1024)

    assert said(tmp_path, machine, server="{listen: 127.0.0.1:443}") == [
        "metaproxy.yaml:1: server.listen[0]: 127.0.0.1:443: ports below 1024 are privileged: "
        "use another one, or give the process CAP_NET_BIND_SERVICE"
    ]


@pytest.mark.parametrize(
    "machine",
    [Machine(binds=False), Machine(passed=frozenset({"server"})), ROOMY, Machine(first_free_port=0)],
    ids=["bound already", "passed by systemd", "with the right", "no port is privileged"],
)
def test_a_privileged_port_is_accepted_if_the_process_need_not_ask(tmp_path: Path, machine: Machine) -> None:
    assert said(tmp_path, machine, server="{listen: 127.0.0.1:443}") == []


def test_the_port_that_somebody_else_uses_is_not_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert said(tmp_path, server=f"{{listen: 127.0.0.1:{taken.getsockname()[1]}}}") == []


def test_the_folder_of_a_unix_socket_must_be_there(folder: Path) -> None:
    assert said(folder, server=f"{{listen: 'unix:{folder}/no/m.sock'}}") == [
        f"metaproxy.yaml:1: server.listen[0]: unix:no/m.sock: the folder {folder}/no does not exist".replace(
            f"{folder}/", ""
        )
    ]


def test_a_file_that_is_not_a_socket_is_not_replaced(folder: Path) -> None:
    (folder / "m.sock").write_text("")

    assert said(folder, server=f"{{listen: 'unix:{folder}/m.sock'}}") == [
        "metaproxy.yaml:1: server.listen[0]: unix:m.sock: a file that is not a socket has this name"
    ]


def test_the_path_of_a_further_worker_may_be_too_long(tmp_path: Path) -> None:
    path = "/tmp/" + "s" * 102

    found = said(
        tmp_path,
        server="{listen: 127.0.0.1:0, workers: 2}",
        admin=f"{{listen: 'unix:{path}'}}",
        store="{url: 'redis://127.0.0.1'}",
    )

    assert found == [
        f"metaproxy.yaml:2: admin.listen[0]: unix:{path}.1: the path of a unix socket has at most 107 bytes, "
        "a worker's number included"
    ]


@pytest.mark.parametrize(
    ("listen", "target", "name"),
    [
        ("127.0.0.1:7001", "http://127.0.0.1:7001", "server.listen"),
        ("127.0.0.1:7001", "https://localhost:7001", "server.listen"),
        ("0.0.0.0:7001", "http://127.0.0.2:7001", "server.listen"),
        ("0.0.0.0:80", "http://localhost", "server.listen"),
        ("'[::]:7001'", "http://127.0.0.1:7001", "server.listen"),
        ("0.0.0.0:7001", f"http://{socket.gethostname()}:7001", "server.listen"),
        ("unix:/tmp/m.sock", "unix:/tmp/m.sock", "server.listen"),
        ("127.0.0.1:7001", "http://127.0.0.1:7009", "admin.listen"),
    ],
)
def test_an_upstream_that_is_metaproxy_itself_is_refused(
    tmp_path: Path, listen: str, target: str, name: str
) -> None:
    found = said(
        tmp_path,
        server=f"{{listen: {listen}}}",
        admin="{listen: 127.0.0.1:7009}",
        upstream=f"{{targets: ['{target}']}}",
    )

    assert found == [
        f"metaproxy.yaml:3: upstream.targets[0]: {target} is metaproxy's own {name}: "
        "requests would go round in a circle"
    ]


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        ("127.0.0.1:7001", "http://127.0.0.2:7001"),
        ("0.0.0.0:7001", "http://203.0.113.9:7001"),
        ("0.0.0.0:7001", "http://nova.internal.example:7001"),
        ("0.0.0.0:7001", "http://127.0.0.1:7002"),
    ],
)
def test_the_same_port_elsewhere_is_no_circle(tmp_path: Path, listen: str, target: str) -> None:
    machine = replace(ROOMY, binds=False)

    assert (
        said(tmp_path, machine, server=f"{{listen: {listen}}}", upstream=f"{{targets: ['{target}']}}") == []
    )
