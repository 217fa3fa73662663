"""TLS towards a server that metaproxy calls."""

import ssl
from pathlib import Path


def client_tls(
    *, verify: bool = True, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return a TLS context for connections to upstreams.

    Args:
        verify: whether the server's certificate and name are checked.
        ca: PEM file of the authorities that are trusted; those of the system by default.
        certificate: PEM file of the certificate that we show; ``key`` is its private key.

    Raises OSError or ssl.SSLError for files that cannot be read.
    """
    context = ssl.create_default_context(cafile=ca)
    # The engine speaks nothing else; a server that knows several must not guess.
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
