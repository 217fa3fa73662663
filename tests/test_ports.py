"""A held port stays ours until its server listens, and afterwards."""

import socket

import pytest

from tests.ports import LOOPBACK, HeldPorts


def test_a_held_port_refuses_connections() -> None:
    with HeldPorts() as held, socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect((LOOPBACK, held.first))


def test_a_server_listens_on_a_held_port_again_and_again() -> None:
    with HeldPorts() as held:
        for _ in range(2):
            with (
                socket.create_server((LOOPBACK, held.first)),
                socket.create_connection((LOOPBACK, held.first), timeout=300),
            ):
                pass


def test_a_held_port_is_held_once() -> None:
    with HeldPorts() as held, socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind((LOOPBACK, held.first))


def test_consecutive_ports_are_held_together() -> None:
    with HeldPorts(3) as held:
        assert held.numbers == [held.first, held.first + 1, held.first + 2]


def test_a_port_is_free_when_it_is_no_longer_held() -> None:
    held = HeldPorts()
    port = held.first
    held.close()

    with socket.socket() as another:
        another.bind((LOOPBACK, port))
