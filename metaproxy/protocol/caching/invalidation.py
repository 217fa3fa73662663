"""Which stored answers a write makes invalid (RFC 9111 §4.4).

Facts this file rests on. A method that is not known to be safe invalidates its target, and what its
answer names in Location and Content-Location, but nothing of another origin: an answer must not reach
into others' caches. The standard wants this after a non-error answer; a write that failed may have
been half done, so this cache invalidates the target for every answer, and before it.
"""

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from metaproxy.protocol import headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 §9.2.1. A method that is not listed is taken for a write."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_write(method: str) -> bool:
    """Return True if ``method`` may change what the origin answers."""
    return method not in SAFE_METHODS


def also_invalidated(host: bytes, target: bytes, answer: headers.Headers) -> Iterator[bytes]:
    """Yield the targets (path and query) of the same host that a write's answer names."""
    for name in (b"location", b"content-location"):
        for value in headers.get_all(answer, name):
            if found := _same_origin(host, target, value):
                yield found


def _same_origin(host: bytes, target: bytes, reference: bytes) -> bytes | None:
    base = f"//{host.decode('latin-1')}{target.decode('latin-1')}"
    try:
        parts = urlsplit(urljoin(base, reference.decode("latin-1")))
    except ValueError:
        return None
    if _authority(parts.netloc, parts.scheme) != _authority(host.decode("latin-1"), parts.scheme):
        return None
    found = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return found.encode("latin-1")


def _authority(written: str, scheme: str) -> str:
    """Return ``written`` without the port that ``scheme`` has anyway (RFC 9110 §4.2.3)."""
    return written.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ":")).removesuffix(":")
