"""Which request paths mean the same to everyone who reads them.

A path is matched and authorised by us and read again by the upstream, perhaps by a server that
normalises it first. If two readers could disagree, the request is refused, not repaired:

- octets outside RFC 3986's ``pchar`` and "/" (a backslash, a control, a raw non-ASCII octet, braces);
- ``;``: some servers cut path parameters off, others keep them;
- dot segments, plain or escaped, and empty segments (RFC 3986 §5.2.4 removes them);
- an escaped slash, backslash or control: data to one reader, structure to the next;
- an escaped percent sign before two hex digits: a second decoding would change the path;
- escapes that are broken or decode to something that is not UTF-8.
"""

import re
from urllib.parse import unquote_to_bytes

_PLAIN = re.compile(rb"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@](?:[A-Za-z0-9\-._~!$&'()*+,=:@])*)+/?|/")
_ALLOWED = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*")
_ESCAPED_STRUCTURE = re.compile(rb"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_DOUBLE_ESCAPE = re.compile(rb"%25[0-9a-f]{2}", re.IGNORECASE)


def is_path(text: str) -> bool:
    """Return True if ``text`` can be a path: not a URL, and without query and fragment."""
    return text.startswith("/") and {"?", "#"}.isdisjoint(text)


def ambiguity(raw_path: bytes) -> str | None:
    """Return what makes ``raw_path`` (without query) ambiguous, in a few words, or None."""
    if _PLAIN.fullmatch(raw_path):
        return None
    if not raw_path.startswith(b"/"):
        return "the path does not start with a slash"
    if b"//" in raw_path:
        return "the path has an empty segment"
    if b";" in raw_path or b"%3b" in raw_path or b"%3B" in raw_path:
        return "the path has parameters"
    if not _ALLOWED.fullmatch(raw_path):
        return "the path has an octet that must be escaped"
    return _escapes(raw_path)


def _escapes(raw_path: bytes) -> str | None:
    if _ESCAPED_STRUCTURE.search(raw_path):
        return "the path has an escaped slash, backslash or control"
    if _DOUBLE_ESCAPE.search(raw_path):
        return "the path is escaped twice"
    decoded = unquote_to_bytes(raw_path)
    if any(segment in (b".", b"..") for segment in decoded.split(b"/")):
        return "the path has a dot segment"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    return None
