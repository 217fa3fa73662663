"""TLS handshakes of clients that fail: asyncio and uvloop drop such a connection without a word.

Facts this file rests on. The event loop calls ``do_handshake`` once before the first byte and again for each
piece that comes. It drops the TLS object of a connection that ends before its handshake, and says so nowhere.
It hands the TLS object neither the transport nor an address, so a failure cannot be told by its client.
"""

import ssl
from collections.abc import Callable

import structlog

from metaproxy.telemetry.metrics import Metrics
from metaproxy.telemetry.repeats import Repeats

logger = structlog.get_logger("metaproxy")

REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no_certificate",
    "CERTIFICATE_VERIFY_FAILED": "certificate_refused",
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "UNSUPPORTED_PROTOCOL": "no_common_protocol",
    "VERSION_TOO_LOW": "no_common_protocol",
    "WRONG_VERSION_NUMBER": "not_tls",
    "PACKET_LENGTH_TOO_LONG": "not_tls",
    "NO_SHARED_CIPHER": "no_common_cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no_common_cipher",
    "NO_SUITABLE_KEY_SHARE": "no_common_cipher",
    "NO_APPLICATION_PROTOCOL": "no_common_application_protocol",
}
"""OpenSSL's word for a failure, and the metric's."""

CERTIFICATE_REASONS = {
    10: "certificate_expired",
    9: "certificate_not_yet_valid",
    18: "certificate_unknown_ca",
    19: "certificate_unknown_ca",
    20: "certificate_unknown_ca",
    21: "certificate_unknown_ca",
}
"""OpenSSL's ``X509_V_ERR_…`` codes, and the metric's word."""

UNFINISHED = "unfinished"
"""The metric's word for a client that left in the middle, or that took too long."""

ALL_REASONS = sorted(
    {*REASONS.values(), *CERTIFICATE_REASONS.values(), "refused_by_client", "other", UNFINISHED}
)

Failed = Callable[[ssl.SSLError | None], None]


class WitnessedTls(ssl.SSLObject):
    """The TLS object of one connection. It calls ``failed`` if the handshake fails, or ends in the middle.

    A connection that ends before its first byte is the probe of a load balancer and no failure.
    """

    failed: Failed
    _steps = 0
    _is_over = False

    def do_handshake(self) -> None:
        """Go on with the handshake; raises ssl.SSLError."""
        self._steps += 1
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._is_over = True
            self.failed(error)
            raise
        self._is_over = True

    def __del__(self) -> None:
        """Report a handshake that had begun and will not go on."""
        if self._steps > 1 and not self._is_over:
            self.failed(None)


class HandshakeFailures:
    """Counts the handshakes of clients that fail, by reason, and logs each reason now and then."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.counter(
            "metaproxy_tls_handshake_failures",
            "TLS handshakes of clients that failed, by reason.",
            ("reason",),
        )
        for reason in ALL_REASONS:  # a rate has to see the first one
            self._count.cell((reason,))
        self._events = Repeats(logger.warning)

    def failed(self, error: ssl.SSLError | None) -> None:
        """Count a handshake that failed with ``error``; None if it ended in the middle."""
        reason, cause = reason_of(error)
        self._count.add((reason,))
        self._events.log("TLS handshake failed", (reason,), reason=reason, cause=cause)


def reason_of(error: ssl.SSLError | None) -> tuple[str, str]:
    """Return the metric's word for ``error``, and the cause in OpenSSL's words."""
    if error is None or not error.reason:
        return UNFINISHED, "the client left or took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE_REASONS.get(error.verify_code, "certificate_refused"), error.verify_message
    cause = error.reason.lower().replace("_", " ")
    if "ALERT" in error.reason:
        return REASONS.get(error.reason, "refused_by_client"), cause
    return REASONS.get(error.reason, "other"), cause
