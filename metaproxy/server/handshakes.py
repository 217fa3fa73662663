"""TLS handshakes of clients that fail: asyncio and uvloop drop such a connection without a word."""

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

Failed = Callable[[ssl.SSLError], None]


class WitnessedTls(ssl.SSLObject):
    """The TLS object of one connection; tells ``failed`` if its handshake fails."""

    failed: Failed

    def do_handshake(self) -> None:
        """Go on with the handshake; raises ssl.SSLError."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.failed(error)
            raise


class HandshakeFailures:
    """Counts the handshakes of clients that fail, by reason, and logs each reason now and then."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.counter(
            "metaproxy_tls_handshake_failures",
            "TLS handshakes of clients that failed, by reason.",
            ("reason",),
        )
        self._events = Repeats(logger.warning)

    def failed(self, error: ssl.SSLError) -> None:
        """Count a handshake that failed with ``error``."""
        reason, cause = reason_of(error)
        self._count.add((reason,))
        self._events.log("TLS handshake failed", (reason,), reason=reason, cause=cause)


def reason_of(error: ssl.SSLError) -> tuple[str, str]:
    """Return the metric's word for ``error``, and the cause in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE_REASONS.get(error.verify_code, "certificate_refused"), error.verify_message
    word = error.reason or ""
    cause = word.lower().replace("_", " ") or "the client left"
    if word in REASONS:
        return REASONS[word], cause
    if "ALERT" in word:
        return "refused_by_client", cause
    return ("other", cause) if word else ("client_left", cause)
