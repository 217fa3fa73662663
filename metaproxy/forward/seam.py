"""Header fields for httpx objects, without httpx looking at each of them.

``httpx.Headers`` normalises every name and value it is given: a quarter of what forwarding a small
answer costs. Ours are pairs of bytes already. One attribute of httpx's, unchanged since 0.9, is set
here and nowhere else; a test holds that both ways give the same.
"""

import httpx

from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.protocol.headers import Headers

OLD_VERSION = b"HTTP/1.0"
_EXTENSIONS = {"1.1": {"http_version": b"HTTP/1.1"}, "1.0": {"http_version": OLD_VERSION}}


def httpx_headers(fields: Headers) -> httpx.Headers:
    """Return ``fields``, in order and with duplicates, as httpx's type."""
    made = httpx.Headers()
    made._list = [(name, name.lower(), value) for name, value in fields]
    return made


def httpx_response(head: ResponseHead, body: httpx.AsyncByteStream) -> httpx.Response:
    """Return a response whose body is still to be read, as httpx's type."""
    extensions = _EXTENSIONS[head.version]
    return httpx.Response(
        head.status, headers=httpx_headers(head.headers), stream=body, extensions=extensions
    )
