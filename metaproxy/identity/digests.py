"""Tokens as hashes: the only form in which they are kept.

Inside a process, tokens are told apart by a keyed BLAKE2b digest (RFC 7693 §2.9) under a random key
that dies with the process: worthless to whoever reads it. Between processes and in files, a token is
named by its SHA-256: tokens are long random strings, for which a plain hash cannot be turned back.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from hashlib import blake2b

SCHEME = "sha256:"
_HASH = re.compile(SCHEME + "[0-9a-f]{64}")
DIGEST_BYTES = 16

TokenDigest = Callable[[bytes], bytes]


def keyed_digest(purpose: bytes = b"token", key: bytes | None = None) -> TokenDigest:
    """Return a function from token to digest; another ``purpose`` gives other digests.

    Args:
        purpose: at most 16 bytes that keep digests for one use apart from those for another.
        key: at most 64 secret bytes; new random ones by default.
    """
    prototype = blake2b(key=key or secrets.token_bytes(32), digest_size=DIGEST_BYTES, person=purpose)

    def digest(token: bytes) -> bytes:
        state = prototype.copy()
        state.update(token)
        return state.digest()

    return digest


def fingerprint(token: bytes) -> bytes:
    """Return the SHA-256 of ``token``: its name between processes."""
    return hashlib.sha256(token).digest()


def hash_token(token: str | bytes) -> str:
    """Return ``token`` as a file of hashed tokens holds it: ``sha256:`` and 64 hexadecimal digits."""
    return SCHEME + fingerprint(token.encode() if isinstance(token, str) else token).hex()


def parse_hash(text: str) -> bytes:
    """Return the digest that ``text`` writes; raises ValueError where it is no such hash."""
    if not _HASH.fullmatch(text):
        raise ValueError(f"a token hash is {SCHEME!r} and 64 hexadecimal digits")
    return bytes.fromhex(text.removeprefix(SCHEME))
