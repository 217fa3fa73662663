"""The shared part of a listener's connections: bounds, the fast lane, the refusal of broken requests."""

from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import ASGIApp, Scope

from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.writing import Writer
from metaproxy.outbox import Outbox
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.forwarded import Trusted, is_trusted
from metaproxy.protocol.signature import Signature
from metaproxy.protocol.status_lines import STATUS_LINE
from metaproxy.server.descriptors import Refusals
from metaproxy.telemetry.dates import DateField
from metaproxy.telemetry.requests import RequestRecord

PRESSED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds of one listener: bytes, seconds, connections."""

    header_bytes: int = 65536
    url_bytes: int = 8192
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    max_connections: int = 10000
    max_lingering: int = 256
    """Connections that end late, so that their clients can read why; these come on top."""
    max_connections_per_address: int | None = None
    max_pipelined: int = 16
    """Requests of one connection that wait for the answers to those before them."""
    trusted_proxies: Trusted = ()
    """Their connections carry the requests of many clients: none is one too many."""
    ipv6_prefix: int = IPV6_PREFIX
    """Addresses of one IPv6 network of this length are counted as one."""

    def one_too_many(self, connections: int, of_address: int, address: str) -> str:
        """Return the reason to refuse a new connection, given how many there are with it; "" for none."""
        if connections > self.max_connections:
            return "too_many_connections"
        most = self.max_connections_per_address
        if most is not None and of_address > most and not is_trusted(address, self.trusted_proxies):
            return "too_many_connections_of_address"
        return ""


class Addresses:
    """Counts the open connections of each address, or network of addresses that is counted as one."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of addresses that have a connection."""
        return len(self._open)

    def connected(self, address: str) -> int:
        """Count a connection of ``address``; return how many it has now."""
        self._open[address] = count = self._open.get(address, 0) + 1
        return count

    def disconnected(self, address: str) -> None:
        """Forget a connection of ``address``."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Lane(Protocol):
    """Answers what can be answered from memory; see ``FastLane``."""

    def answer(self, scope: Scope, *, keep_alive: bool, octets: bytes) -> bytes | Passing | ASGIApp:
        """Return the whole answer to the request of ``scope``, or who will give it.

        That is a read that is on its way to the upstream, or the application that must be asked.
        """
        ...

    def repeat(self, octets: bytes, address: str, scheme: str) -> bytes | Passing | None:
        """Return the answer to a request of which the very octets came before, or who gives it, or None."""
        ...


@dataclass(slots=True)
class Edge:
    """The shared part of all connections of a listener. ``signature`` and ``record`` are those of the line.

    A reload changes it; ``limits`` then count for new connections.
    """

    limits: EdgeLimits
    signature: Signature
    record: RequestRecord
    date: DateField
    fast_lane: Lane | None = None
    addresses: Addresses = field(default_factory=Addresses)
    refusals: Refusals = field(default_factory=Refusals)
    outbox: Outbox = field(default_factory=Outbox)
    lingering: int = 0
    """Connections whose last answer is written, and whose client still sends."""

    def is_pressed(self, connections: int) -> bool:
        """Say whether idle connections should end early, because there are nearly as many as there may be."""
        return connections - self.lingering > self.limits.max_connections * PRESSED_SHARE

    def refusal(self, fault: Fault, request_id: str, body: bytes) -> bytes:
        """Return the whole answer that refuses what never became a request."""
        retry = b"" if fault.retry_after is None else b"retry-after: %d\r\n" % fault.retry_after
        fields = b"content-type: application/json\r\ncontent-length: %d\r\n%b" % (len(body), retry)
        writer = Writer(self.signature, self.date)
        head = STATUS_LINE[fault.status] + fields
        return writer.whole(head, request_id, body, is_dated=False, keep_alive=False)
