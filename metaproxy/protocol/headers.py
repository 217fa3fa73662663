"""Header fields as raw pairs: order and duplicates survive.

Facts this file rests on. Field names are case-insensitive (RFC 9110 §5.1); ASGI hands them over in
lower case, so names here are lower-case bytes. Connection names further fields that end at this hop
(§7.6.1). A list field may be sent as several lines, in order (§5.3). An intermediary appends itself
to Via on requests and on responses (§7.6.3).
"""

from collections.abc import Iterable, Iterator, Sequence

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

METHOD_OVERRIDES = frozenset({b"x-http-method", b"x-http-method-override", b"x-method-override"})
"""Fields by which some frameworks act on another method than the request line's."""


def get(headers: Iterable[Header], name: bytes) -> bytes | None:
    """Return the first field value of ``name``, or None."""
    for field_name, field_value in headers:
        if field_name == name:
            return field_value
    return None


def get_all(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """Return every field value of ``name``, in order."""
    return [field_value for field_name, field_value in headers if field_name == name]


def combined(headers: Iterable[Header], name: bytes) -> bytes:
    """Return the values of ``name`` as one list (RFC 9110 §5.3); empty where there is none."""
    return b", ".join(get_all(headers, name))


_line = b": ".join


def lines(headers: Iterable[Header]) -> bytes:
    """Return ``headers`` as HTTP/1.1 writes them (RFC 9112 §5), each with its line break."""
    return b"\r\n".join([*map(_line, headers), b""])


def list_members(field_value: bytes) -> Iterator[bytes]:
    """Yield the members of a comma-separated list of tokens, empty ones left out (RFC 9110 §5.6.1)."""
    for member in field_value.split(b","):
        stripped = member.strip(b" \t")
        if stripped:
            yield stripped


FOR_EVERYBODY = frozenset(
    {
        b"age",
        b"cache-control",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"metaproxy-cache-control",
        b"pragma",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"via",
        b"www-authenticate",
    }
)
"""Fields that Connection may not name, because they are for every recipient (RFC 9110 §7.6.1)."""


def end_to_end(headers: Headers) -> list[Header]:
    """Return ``headers`` without those that end at this hop (RFC 9110 §7.6.1).

    Fields that are for every recipient stay, though Connection may name them: without its Cache-Control or
    Vary an answer would be stored for clients that it is not for.
    """
    if HOP_BY_HOP.isdisjoint([name for name, _ in headers]):
        return list(headers)
    nominated = {
        member.lower() for name, value in headers if name == b"connection" for member in list_members(value)
    }
    dropped = HOP_BY_HOP | (nominated - FOR_EVERYBODY) if nominated else HOP_BY_HOP
    return [header for header in headers if header[0] not in dropped]


def via_element(pseudonym: str, version: str | None) -> bytes:
    """Return our element of a Via field: ``1.1 metaproxy (metaproxy/0.1.0)`` (RFC 9110 §7.6.3)."""
    comment = f" (metaproxy/{version})" if version else ""
    return f"1.1 {pseudonym}{comment}".encode("ascii")


def via_names(headers: Headers, pseudonym: str) -> int:
    """Count how often ``pseudonym`` stands in Via: the number of times a request has passed us."""
    wanted = pseudonym.encode("ascii").lower()
    return sum(
        1
        for name, value in headers
        if name == b"via"
        for member in list_members(value)
        if _received_by(member) == wanted
    )


def _received_by(member: bytes) -> bytes:
    words = member.split()
    return words[1].lower() if len(words) > 1 else b""
