"""TLS towards the servers that metaproxy calls."""

import ssl

from metaproxy.config.model.upstream import ClientTls


class TlsError(Exception):
    """A TLS file cannot be used; the message says which section and why."""


def client_context(tls: ClientTls, section: str) -> ssl.SSLContext:
    """Return the context for calling an https server as ``tls`` says; raises TlsError.

    ``section`` names the part of the configuration in the message.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None and tls.key is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
        raise TlsError(f"{section}.tls: {tls.ca or tls.certificate}: {reason}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
