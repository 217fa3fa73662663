"""TLS contexts, made from the files that were read with the configuration.

OpenSSL takes certificates from files alone, and the files on the disk may have changed since. So it gets the
bytes that were read, each as a file in memory. An encrypted key is refused, because nobody may be there to
type its password.
"""

import errno
import os
import re
import ssl
import tempfile
from binascii import Error as NotBase64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from metaproxy.config.files import MAX_BYTES, Files
from metaproxy.config.model import Config
from metaproxy.config.model.identity import Keystone
from metaproxy.config.model.server import ServerTls
from metaproxy.config.model.upstream import ClientTls


class TlsError(Exception):
    """A TLS file cannot be used; the message says which key of the configuration, which file and why."""


def server_context(tls: ServerTls, files: Files) -> ssl.SSLContext:
    """Return the context of a TLS listener; raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, tls.certificate, tls.key, files, "server")
    if tls.client_ca is not None:
        with _errors("server.tls.client_ca", tls.client_ca), _as_file(files.read(tls.client_ca)) as trusted:
            context.load_verify_locations(trusted)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: ClientTls, section: str, files: Files | None = None) -> ssl.SSLContext:
    """Return the context for calling an https server as ``tls`` says; raises TlsError.

    ``section`` names the part of the configuration in the message.
    """
    files = files or Files()
    if tls.ca is None:
        context = ssl.create_default_context()
    else:
        with _errors(f"{section}.tls.ca", tls.ca), _as_file(files.read(tls.ca)) as authorities:
            context = ssl.create_default_context(cafile=authorities)
    if tls.certificate is not None and tls.key is not None:
        _load_chain(context, tls.certificate, tls.key, files, section)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def client_tls(config: Config) -> Iterator[tuple[str, ClientTls]]:
    """Yield the sections that call a server, by name, each with its part about TLS."""
    yield "upstream", config.upstream.tls
    if isinstance(config.identity, Keystone):
        yield "identity", config.identity.tls


def check_tls(config: Config) -> None:
    """Raise TlsError if a file cannot be used that ``config`` names for TLS."""
    if config.server.tls is not None:
        server_context(config.server.tls, config.files)
    for section, tls in client_tls(config):
        if tls.ca is not None or tls.certificate is not None:
            client_context(tls, section, config.files)


def expiries(config: Config) -> dict[str, float]:
    """Return when each certificate that metaproxy shows ends (seconds since the epoch), by section."""
    shown = [("server", config.server.tls), *client_tls(config)]
    named = {section: tls.certificate for section, tls in shown if tls is not None}
    found = {
        section: not_after(config.files.read(path)) for section, path in named.items() if path is not None
    }
    return {section: instant for section, instant in found.items() if instant is not None}


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path, files: Files, section: str) -> None:
    with _errors(f"{section}.tls.certificate", certificate):
        chain = files.read(certificate)
    with _errors(f"{section}.tls.key", key):
        private = files.read(key)
    named = ("key", key) if not_after(chain) is not None else ("certificate", certificate)
    with _errors(f"{section}.tls.{named[0]}", named[1]), _as_file(chain) as one, _as_file(private) as other:
        try:
            context.load_cert_chain(one, other, password=_refuse_to_ask)
        except _EncryptedKey:
            raise TlsError(f"{section}.tls.key: {key}: the key is encrypted: remove its password") from None
        except ssl.SSLError as error:
            if error.reason != "KEY_VALUES_MISMATCH":
                raise
            raise TlsError(f"{section}.tls.key: {key}: is not the key of {certificate}") from error


class _EncryptedKey(Exception):
    """OpenSSL has asked for a password."""


def _refuse_to_ask() -> NoReturn:
    raise _EncryptedKey


@contextmanager
def _errors(key: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        # An SSLError has a short reason where it comes from OpenSSL, other errors a text of the system.
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise TlsError(f"{key}: {path}: {reason}") from error


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Yield a path under which ``content`` can be read."""
    if len(content) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES // 1024**2}MiB")
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        with os.fdopen(os.memfd_create("metaproxy"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as named:
            named.write(content)
            named.flush()
            yield named.name


VERSION, UTC_TIME = 0xA0, 0x17

_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def not_after(pem: bytes) -> float | None:
    """Return when the first certificate in ``pem`` ends (seconds since the epoch); None if it has none.

    A certificate is a DER sequence; its first member, the part that is signed, has the version (tag 0xA0, may
    be missing), the serial number, the algorithm, the issuer and then the validity: two times, of which the
    second is the end (RFC 5280 §4.1). Python's ssl module shows this of a peer's certificate and of an
    authority's, not of one's own. Of a chain, the certificate that is shown stands first.
    """
    first = _FIRST.search(pem)
    if first is None:
        return None
    try:
        certificate = _inside(ssl.PEM_cert_to_DER_cert(first[0].decode("ascii")))
        signed = _members(_inside(certificate))
        validity = signed[4 if signed[0][0] == VERSION else 3]
        tag, end = _members(validity[1])[1]
        form = "%y%m%d%H%M%SZ" if tag == UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(end.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
    except (ValueError, IndexError, NotBase64):
        return None


def _inside(der: bytes) -> bytes:
    """The content of the value with which ``der`` begins."""
    return _members(der)[0][1]


def _members(der: bytes) -> list[tuple[int, bytes]]:
    """The values that follow each other in ``der``: tag and content of each."""
    members = []
    while der:
        tag, length, start = der[0], der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start])
        members.append((tag, der[start : start + length]))
        der = der[start + length :]
    return members
