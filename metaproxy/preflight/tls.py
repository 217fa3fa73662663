"""TLS files: readable, PEM, a key that fits, a date that holds.

The ssl module is asked with the calls that the listeners and clients make. It does not give
the dates of a certificate: they come from a handshake in memory, in which the peer trusts exactly that one.
"""

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metaproxy.clock import Clock
from metaproxy.config.model.server import ServerTls
from metaproxy.config.model.upstream import ClientTls
from metaproxy.preflight.note import Note, warning
from metaproxy.settings.section import KeyPath

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: dates are compared here, with the clock that is passed in."""

ENCRYPTED = (
    "is encrypted, and metaproxy asks for no password: decrypt it with openssl pkey, "
    "into a file that only metaproxy can read"
)

LARGEST_FILE = 4 * 1024 * 1024
HANDSHAKE_ROUNDS = 10


class EncryptedKeyError(Exception):
    """A private key needs a password. A proxy has nobody to ask for it."""


def refuse_password() -> str:
    """Stand for the password of an encrypted key: without this OpenSSL asks for it on the terminal."""
    raise EncryptedKeyError(ENCRYPTED)


def server_tls(tls: ServerTls, at: KeyPath, time: Clock) -> Iterator[Note]:
    """Yield what is wrong with the files of a listener."""
    yield from _pair(tls.certificate, tls.key, at, time, of_server=True)
    if tls.client_ca is not None:
        yield from _authorities(tls.client_ca, (*at, "client_ca"), time, must_be_ca=True)


def client_tls(tls: ClientTls, at: KeyPath, time: Clock) -> Iterator[Note]:
    """Yield what is wrong with the files for calling a server."""
    if tls.certificate is not None and tls.key is not None:
        yield from _pair(tls.certificate, tls.key, at, time, of_server=False)
    if tls.ca is not None:
        yield from _authorities(tls.ca, (*at, "ca"), time, must_be_ca=False)


def _pair(certificate: Path, key: Path, at: KeyPath, time: Clock, *, of_server: bool) -> Iterator[Note]:
    problems = {
        "certificate": _file_problem(certificate) or _certificate_problem(certificate),
        "key": _file_problem(key) or _key_problem(key),
    }
    for name, problem in problems.items():
        if problem:
            yield Note((*at, name), problem)
    if any(problems.values()):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse_password)
    except EncryptedKeyError as error:
        yield Note((*at, "key"), f"{key}: {error}")
    except ssl.SSLError as error:
        yield _mismatch(error, certificate, key, at)
    else:
        yield from _dates(certificate, key, (*at, "certificate"), time, of_server=of_server)


def _mismatch(error: ssl.SSLError, certificate: Path, key: Path, at: KeyPath) -> Note:
    reason = (error.reason or "").upper()
    if "MISMATCH" in reason:
        return Note((*at, "key"), f"{key}: does not belong to the certificate {certificate}")
    readable = reason.replace("_", " ").lower() or "unknown reason"
    name = "certificate" if reason.startswith(("EE_", "CA_")) else "key"
    return Note((*at, name), f"{certificate if name == 'certificate' else key}: cannot be used: {readable}")


def _authorities(file: Path, at: KeyPath, time: Clock, *, must_be_ca: bool) -> Iterator[Note]:
    if problem := _file_problem(file) or _certificate_problem(file):
        yield Note(at, problem)
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(file)
    authorities: list[dict[str, Any]] = context.get_ca_certs()
    if not authorities:
        yield Note(
            at,
            f"{file}: holds no certificate of an authority (CA:TRUE)",
            "error" if must_be_ca else "warning",
        )
    elif all(problems := [_date_problem(found, time) for found in authorities]):
        yield warning(at, f"{file}: {problems[0]}")


def _file_problem(file: Path) -> str:
    """The sentence about a file that cannot be read, "" for one that can."""
    try:
        if stat.S_ISDIR(file.stat().st_mode):
            return f"{file}: is a folder, not a file"
        if not stat.S_ISREG(file.stat().st_mode):
            return f"{file}: is not a regular file"
        with file.open("rb") as opened:
            if not opened.read(LARGEST_FILE).strip():
                return f"{file}: is empty"
    except FileNotFoundError:
        return f"{file}: no such file"
    except (OSError, ValueError) as error:
        return f"{file}: cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}"
    return ""


def _certificate_problem(file: Path) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except (OSError, ssl.SSLError):
        content = file.read_bytes()[:LARGEST_FILE]
        if content.startswith(b"\x30"):
            return f"{file}: is DER, not PEM: convert it with openssl x509 -inform DER"
        if b"PRIVATE KEY-----" in content and b"BEGIN CERTIFICATE" not in content:
            return f"{file}: holds a private key in place of a certificate"
        return f"{file}: holds no certificate in PEM"
    return ""


def _key_problem(file: Path) -> str:
    content = file.read_bytes()[:LARGEST_FILE]
    if b"PRIVATE KEY-----" in content:
        return ""
    if content.startswith(b"\x30"):
        return f"{file}: is DER, not PEM: convert it with openssl pkey -inform DER"
    if b"BEGIN CERTIFICATE" in content:
        return f"{file}: holds a certificate in place of a private key"
    return f"{file}: holds no private key in PEM"


def _dates(certificate: Path, key: Path, at: KeyPath, time: Clock, *, of_server: bool) -> Iterator[Note]:
    try:
        found = _seen_by_peer(certificate, key, of_server=of_server)
    except ssl.SSLCertVerificationError as error:
        peers = "clients" if of_server else "servers"
        yield warning(at, f"{certificate}: {peers} may refuse it: {error.verify_message}")
    except ssl.SSLError:
        return  # a handshake that only this check makes says nothing about others
    else:
        if problem := _date_problem(found, time):
            yield warning(at, f"{certificate}: {problem}")


def _date_problem(certificate: dict[str, Any], time: Clock) -> str:
    begin, end = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    if end < time():
        return f"expired on {_date(end)}"
    return f"is not valid before {_date(begin)}" if begin > time() else ""


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _seen_by_peer(certificate: Path, key: Path, *, of_server: bool) -> dict[str, Any]:
    """The certificate as a peer that trusts it alone sees it; raises SSLError if the peer refuses it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.load_cert_chain(certificate, key, refuse_password)
    peer = client if of_server else server
    peer.load_verify_locations(certificate)
    peer.verify_mode = ssl.CERT_REQUIRED
    peer.verify_flags |= ssl.VerifyFlags(ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(one, other, server_side=True),
        client.wrap_bio(other, one, server_side=False),
    ]
    for _ in range(HANDSHAKE_ROUNDS):
        unfinished = 0
        for side in reversed(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                unfinished += 1
        if not unfinished:
            break
    return dict(sides[1 if of_server else 0].getpeercert() or {})
