"""The section about the compute API behind metaproxy."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from metaproxy.config.addresses import TargetUrl
from metaproxy.forward.breaker import BreakerPolicy
from metaproxy.forward.health import HealthPolicy
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.units import PositiveDuration
from metaproxy.settings.values import Connections, File, Number
from metaproxy.settings.written import text_of

Prefix = Annotated[
    str,
    text_of(
        "path-prefix",
        r"(?:/[!-~]*[!-.0-~])?",
        "a prefix starts with '/' and does not end with it: /compute",
        "/compute",
    ),
]


class ClientTls(Section):
    """TLS towards a server that metaproxy calls."""

    verify: bool = True
    """True if the server's certificate is checked; switch it off for tests alone."""
    ca: File | None = None
    """PEM file of the authorities that are trusted; null trusts those of the system."""
    certificate: File | None = None
    """PEM file of the client certificate that metaproxy shows."""
    key: File | None = None
    """PEM file of that certificate's private key."""

    def findings(self) -> Iterator[Finding]:
        """A certificate and its key come together."""
        if (self.certificate is None) != (self.key is None):
            missing = "certificate" if self.certificate is None else "key"
            yield (missing,), "is missing: a client certificate needs both certificate and key"


class UpstreamTimeouts(Section):
    """How long the upstream may take."""

    connect: PositiveDuration = 2.0
    """For a new connection, the TLS handshake included; then another target or 504."""
    read: PositiveDuration = 90.0
    """For the head of the answer, and for every next piece of its body; then 504."""
    pool: PositiveDuration = 5.0
    """How long a request may queue for a connection; then 503."""


class Upstream(Section):
    """The compute API."""

    targets: Annotated[tuple[TargetUrl, ...], Field(min_length=1)]
    """http://host:port, https://host:port or unix:/path; of several, the least busy is asked."""
    host_header: Literal["preserve", "upstream"] = "preserve"
    """Which Host the upstream sees: the client's (preserve) or the target's (upstream)."""
    strip_prefix: Prefix = ""
    """Path prefix that is taken off before anything decides, such as /compute."""
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    """How long connecting, answering and queueing may take."""
    max_connections: Connections = 256
    """Connections per target; requests above it queue."""
    connection_age: PositiveDuration = 300.0
    """The greatest age of a connection; then the target's name is looked up again."""
    queue: Annotated[Number, Field(ge=0, le=1_000_000)] = 1024
    """Requests that may queue for a connection; one more is answered 503."""
    retries: Annotated[Number, Field(ge=0, le=10)] = 1
    """How often a safe request that failed is sent again, to another target where there is one."""
    health: HealthPolicy = HealthPolicy()
    """How targets are watched."""
    breaker: BreakerPolicy = BreakerPolicy()
    """When a failing target is left alone."""
    tls: ClientTls = ClientTls()
    """TLS towards https:// targets."""

    def findings(self) -> Iterator[Finding]:
        """No target stands twice."""
        for index, target in enumerate(self.targets):
            if target in self.targets[:index]:
                yield ("targets", index), f"{target} stands in the list twice"
