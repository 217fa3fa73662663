"""Content codings of a message, taken off within a bound (RFC 9110 §8.4).

Facts this file rests on. A gzip body may have several members, one after the other (RFC 1952 §2.2), and a
reader that stops after the first misses the rest. ``deflate`` is zlib's format (RFC 9110 §8.4.1.2); some
senders leave zlib's wrapper out, and most readers accept that.
"""

import zlib

from metaproxy.protocol.headers import list_members

GZIP = zlib.MAX_WBITS | 16
IDENTITY = b"identity"
WINDOWS = {
    b"gzip": (GZIP,),
    b"x-gzip": (GZIP,),
    b"deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
"""The formats that zlib tries, in order, by coding."""

MAX_MEMBERS = 64
"""Each further member is cut off the body, so that many small ones would cost the square of its size."""


class UnknownCoding(ValueError):
    """A body that cannot be decoded; the message is a clause that says why."""


def decoded(body: bytes, codings: bytes, max_bytes: int) -> bytes | None:
    """Return ``body`` without its ``codings`` (a list as in Content-Encoding), None if it is too large.

    Raises UnknownCoding for an unknown coding, for several codings, and for a body that is not what they say.
    """
    names = [name.lower() for name in list_members(codings) if name.lower() != IDENTITY]
    if not names:
        return body
    if len(names) > 1 or names[0] not in WINDOWS:
        raise UnknownCoding("the Content-Encoding is not known")
    for window in WINDOWS[names[0]]:
        try:
            return _inflated(body, window, max_bytes)
        except zlib.error:
            continue
    raise UnknownCoding("the body is not what Content-Encoding says")


def _inflated(body: bytes, window: int, max_bytes: int) -> bytes | None:
    text = bytearray()
    rest = body
    for _ in range(MAX_MEMBERS):
        inflater = zlib.decompressobj(window)
        text += inflater.decompress(rest, max_bytes + 1 - len(text))
        if len(text) > max_bytes:
            return None
        if not inflater.eof:
            raise zlib.error("the body ends early")
        rest = inflater.unused_data
        if not rest:
            return bytes(text)
    raise zlib.error("the body has too many members")
