"""When a certificate ends.

Facts this file rests on. A certificate is a DER sequence; its first member, the part that is signed, has the
version (tag 0xA0, may be missing), the serial number, the algorithm, the issuer and then the validity: two
times, of which the second is the end (RFC 5280 §4.1). Python's ssl module shows this of a peer's certificate
and of an authority's, not of one's own. Of a chain, the certificate that is shown stands first.
"""

import re
import ssl
from binascii import Error as NotBase64
from datetime import UTC, datetime

SEQUENCE, VERSION, UTC_TIME = 0x30, 0xA0, 0x17

_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def not_after(pem: bytes) -> float | None:
    """Return when the first certificate in ``pem`` ends (seconds since the epoch); None if it has none."""
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
