import os
import socket
from collections.abc import Iterator

import pytest

from metaproxy.server.listeners import activated


@pytest.fixture
def passed() -> Iterator[int]:
    """The first of two neighbouring descriptors of listeners."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    first = 200
    for index, listener in enumerate(listeners):
        os.dup2(listener.fileno(), first + index)
        listener.close()
    yield first
    for index in range(2):
        try:
            os.close(first + index)
        except OSError:
            continue


def environ(names: str = "data:admin", pid: int | None = None) -> dict[str, str]:
    return {
        "LISTEN_PID": str(os.getpid() if pid is None else pid),
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": names,
    }


def test_sockets_are_taken_by_their_names(passed: int) -> None:
    found = activated(environ(), passed)

    assert ([each.fileno() for each in found.data], [each.fileno() for each in found.admin]) == (
        [passed],
        [passed + 1],
    )
    assert found.data[0].getblocking() is False
    for each in (*found.data, *found.admin):
        each.close()


def test_sockets_without_a_name_are_for_clients(passed: int) -> None:
    found = activated(environ(names=""), passed)

    assert (len(found.data), len(found.admin)) == (2, 0)
    for each in found.data:
        each.close()


@pytest.mark.parametrize("variables", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "2"}])
def test_what_was_passed_to_another_process_is_not_ours(variables: dict[str, str]) -> None:
    found = activated(variables)

    assert (found.data, found.admin) == ([], [])


def test_children_are_not_told(passed: int) -> None:
    variables = environ()

    found = activated(variables, passed)

    assert variables == {}
    for each in (*found.data, *found.admin):
        each.close()
