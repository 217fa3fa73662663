"""Cache-Status: how a cache dealt with a request (RFC 9211).

``hit`` and ``fwd`` exclude each other; ``fwd`` says why the request went forward, ``fwd-status`` what
came back where the client got something else, ``ttl`` how long the answer stays fresh (negative once
stale), ``stored`` and ``collapsed`` are true by being there.
"""

from functools import lru_cache

BYPASS = "bypass"
METHOD = "method"
URI_MISS = "uri-miss"
VARY_MISS = "vary-miss"
REQUEST = "request"
STALE = "stale"
PARTIAL = "partial"


def hit(cache: str, ttl: float, detail: str = "") -> str:
    """Return the member for an answer from memory that stays fresh for ``ttl`` seconds."""
    return f"{cache}; hit; ttl={int(ttl // 1)}{_detail(detail)}"


def forwarded(
    cache: str,
    reason: str,
    *,
    status: int = 0,
    ttl: float | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: str = "",
) -> str:
    """Return the member for a request that went forward because of ``reason``."""
    seconds = None if ttl is None else int(ttl // 1)
    return _forwarded(cache, reason, status, seconds, stored, collapsed, detail)


@lru_cache(maxsize=1024)
def _forwarded(
    cache: str, reason: str, status: int, seconds: int | None, stored: bool, collapsed: bool, detail: str
) -> str:
    parts = [cache, f"fwd={reason}"]
    if status:
        parts.append(f"fwd-status={status}")
    if seconds is not None:
        parts.append(f"ttl={seconds}")
    if stored:
        parts.append("stored")
    if collapsed:
        parts.append("collapsed")
    return "; ".join(parts) + _detail(detail)


def _detail(detail: str) -> str:
    return f"; detail={detail}" if detail else ""
