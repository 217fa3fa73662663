"""Handshakes of clients that fail, over TLS objects in memory: what is counted for each cause."""

import ssl

import pytest

from metaproxy.server.handshakes import HandshakeFailures
from metaproxy.server.listener_tls import listener_context
from metaproxy.telemetry.metrics import Metrics

COUNTED = "metaproxy_tls_handshake_failures"


def counted(metrics: Metrics) -> dict[str, float]:
    """The reasons that occurred, and how often."""
    values = metrics.counter(COUNTED, "", ("reason",)).values
    return {reason: number for (reason,), number in values.items() if number}


def server(failures: HandshakeFailures) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    incoming = ssl.MemoryBIO()
    context = listener_context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), failures.failed)
    return context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True), incoming


@pytest.mark.parametrize(
    ("sent", "reason"), [(b"GET / HTTP/1.1\r\n\r\n", "plain_http"), (b"\x16\x03\x01\x00\x05hello", "other")]
)
def test_a_handshake_that_fails_is_counted_by_its_reason(sent: bytes, reason: str) -> None:
    metrics = Metrics()
    connection, incoming = server(HandshakeFailures(metrics))
    incoming.write(sent)

    with pytest.raises(ssl.SSLError):
        connection.do_handshake()

    assert counted(metrics) == {reason: 1.0}


def test_a_handshake_that_waits_for_the_client_is_not_counted() -> None:
    metrics = Metrics()
    connection, _ = server(HandshakeFailures(metrics))

    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()

    assert counted(metrics) == {}


@pytest.mark.parametrize(("sent", "number"), [((), 0), ((b"\x16\x03\x01",), 1)])
def test_a_handshake_that_ends_in_the_middle_is_counted_if_it_had_begun(
    sent: tuple[bytes, ...], number: int
) -> None:
    metrics = Metrics()
    connection, incoming = server(HandshakeFailures(metrics))
    for octets in (b"", *sent):
        incoming.write(octets)
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()

    del connection

    assert counted(metrics).get("unfinished", 0) == number


def test_every_reason_is_shown_before_it_occurs() -> None:
    metrics = Metrics()

    HandshakeFailures(metrics)

    assert metrics.counter(COUNTED, "", ("reason",)).values.keys() >= {("plain_http",), ("unfinished",)}
