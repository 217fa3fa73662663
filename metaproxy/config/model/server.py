"""The sections about metaproxy's own listeners: server, admin, via."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from metaproxy.config.addresses import ListenAddress, ListenAddresses, NetworkAddress
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.forwarded import ForwardedHeader
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import Duration, PositiveDuration, Size
from metaproxy.settings.values import BlankIsNone, Connections, File, Number, Token
from metaproxy.settings.written import text_of

Pseudonym = Annotated[
    str,
    text_of(
        "token",
        r"[!#$%&'*+.^_`|~0-9A-Za-z-]+",
        "a pseudonym has letters, digits and !#$%&'*+-.^_`|~ alone (a token of RFC 9110)",
        "metaproxy",
    ),
]


def _head_size(size: int) -> int:
    if size > LARGEST_HEAD:
        raise ValueError("must be at most 16MiB: a head is kept in memory, for each connection")
    return size


LARGEST_HEAD = 16 * 1024**2
HeadSize = Annotated[Size, AfterValidator(_head_size)]


class ServerTls(Section):
    """TLS of the data listener."""

    certificate: File
    """PEM file with the certificate and the chain up to, not including, the root."""
    key: File
    """PEM file with the private key."""
    client_ca: File | None = None
    """PEM file of the authorities whose client certificates are demanded; null asks for none."""


class Server(Section):
    """The listener for clients."""

    listen: Annotated[ListenAddresses, Field(min_length=1)] = (ListenAddress("127.0.0.1", 8774),)
    """host:port, [::]:port or unix:/path; one or a list. A name is listened on at all its addresses."""
    tls: ServerTls | None = None
    """Certificate and key where metaproxy ends TLS itself; null speaks plain HTTP."""
    workers: Annotated[Number, Field(ge=1, le=256)] = 1
    """Processes side by side. Without store.url, their supervisor holds rates, purges and revocations."""
    trusted_proxies: tuple[NetworkAddress, ...] = ()
    """Networks of the proxies that are believed about the client; unix for peers on a unix socket."""
    forwarded_header: ForwardedHeader = "x-forwarded"
    """The field with the client's address: x-forwarded (X-Forwarded-*) or forwarded (RFC 7239)."""
    shutdown_grace: Duration = 30.0
    """How long requests that already run may take to finish after SIGTERM."""
    header_bytes: HeadSize = 64 * 1024
    """Largest head of a request; above it the answer is 431."""
    header_timeout: PositiveDuration = 10.0
    """How long a client may take to send the head of a request."""
    body_timeout: PositiveDuration = 30.0
    """How long a client may send nothing in the middle of a body, or be behind 512 bytes a second."""
    idle_timeout: PositiveDuration = 75.0
    """How long a connection is kept open between two requests."""
    max_connections: Connections = 10000
    """Open client connections per process."""
    max_connections_per_address: Connections | None = None
    """How many of them one address may have, those of trusted_proxies apart; null sets no limit."""
    ipv6_prefix: Annotated[Number, Field(ge=1, le=128)] = IPV6_PREFIX
    """IPv6 addresses that have so many bits in common are one client, for limits by address."""


class Admin(Section):
    """The operator's own listener: health, metrics, cache, limits, configuration and a page."""

    listen: ListenAddresses = (ListenAddress("127.0.0.1", 9774),)
    """host:port, [::]:port or unix:/path; one or a list; [] switches the listener off."""
    token: Annotated[Token | None, BlankIsNone] = None
    """Bearer token that callers must show; required as soon as other machines can connect."""
    public_metrics: bool = False
    """True if /metrics needs no token, for a Prometheus that cannot send one."""

    def findings(self) -> Iterator[Finding]:
        """A listener that other machines reach needs a token."""
        exposed = [str(address) for address in self.listen if not address.is_local]
        if exposed and self.token is None:
            yield (
                ("token",),
                f"is needed, because {exposed[0]} can be reached from other machines: set admin.token, "
                "or listen on 127.0.0.1 or a unix socket",
            )


class Via(Section):
    """The Via field of requests and responses (RFC 9110 §7.6.3)."""

    pseudonym: Pseudonym = "metaproxy"
    """The name by which this proxy goes in the Via field."""
    version: bool = True
    """True if the product and its version follow in a comment: 1.1 metaproxy (metaproxy/0.1.0)."""
