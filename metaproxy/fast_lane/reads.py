"""Reads told by a look at their request line, where one look is enough.

That is a GET or HEAD in HTTP/1.1 whose path has no escapes (RFC 9112 §3, RFC 3986 §3.3): what the path is
needs no decoding, and no two readers can split the line in two ways. Any other goes through the parser.
"""

import re
from typing import Any, NamedTuple

_REQUEST_LINE = re.compile(
    rb"(GET|HEAD) (/[A-Za-z0-9\-._~!$&'()*+,=:@/]*)(?:\?([A-Za-z0-9\-._~!$&'()*+,=:@/?%]+))? HTTP/1\.1\r\n"
)


class Read(NamedTuple):
    """A read: the part of its scope that the request line tells, and the header section."""

    line: dict[str, Any]
    section: bytes


def read_of(octets: bytes) -> Read | None:
    """Return what ``octets``, a request's head, ask for; None where that takes a parser."""
    found = _REQUEST_LINE.match(octets)
    if found is None:
        return None
    method, path, query = found.groups(b"")
    line = {
        "method": method.decode("ascii"),
        "path": path.decode("ascii"),
        "raw_path": path,
        "query_string": query,
    }
    return Read(line, octets[found.end() :])
