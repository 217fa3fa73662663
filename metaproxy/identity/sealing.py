"""Bytes that can be read and made only with the operator's key and the token that they are about.

Facts this file rests on. HKDF (RFC 5869) derives keys that say nothing of each other. Its salt is the
operator's key and its input is a token; it derives the name under which the value of that token is stored,
and the key that seals this one value. So a reader of names learns no token and cannot try tokens out, and a
reader who has the operator's key, but not the token, can read no value. The settings of identity and the use
of the value are part of the derivation: other settings lead to another name and to another key.

A sealed value (AES-256-GCM, NIST SP 800-38D) is a version, a random nonce of 96 bits, and the ciphertext with
its tag of 128 bits. A key seals the values of one token alone, so nonces do not run out. Version, settings,
name, and a ``bond`` that the reader must know, are authenticated with the value.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
KEY_BYTES = 32
NAME_BYTES = 20
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = len(VERSION) + NONCE_BYTES + TAG_BYTES

_PURPOSE = b"metaproxy shared token "


class Unsealable(ValueError):
    """The bytes were not sealed with this key for this token and bond, or were changed."""


class Seal:
    """The name of one value, and the means to seal and to open it."""

    __slots__ = ("_cipher", "_context", "name")

    def __init__(self, name: str, key: bytes, context: bytes) -> None:
        self.name = name
        self._context = context
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, bond: bytes) -> bytes:
        """Return ``content`` sealed, bound to the name, the settings and ``bond``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, content, self._bound_to(bond))

    def open(self, sealed: bytes, bond: bytes) -> bytes:
        """Return what was sealed; raises Unsealable."""
        if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(VERSION):
            raise Unsealable("the value is of another form")
        nonce = sealed[len(VERSION) :][:NONCE_BYTES]
        try:
            return self._cipher.decrypt(nonce, sealed[len(VERSION) + NONCE_BYTES :], self._bound_to(bond))
        except InvalidTag:
            raise Unsealable("the value was not sealed for this") from None

    def _bound_to(self, bond: bytes) -> bytes:
        return self._context + self.name.encode() + bond


class Sealer:
    """Makes the seals of tokens.

    Args:
        keys: the operator's keys, each of KEY_BYTES. The first one seals, and all open.
        settings: what the values depend on besides the token.
    """

    def __init__(self, keys: Sequence[bytes], settings: bytes) -> None:
        self._keys = tuple(keys)
        self._settings = settings

    def seals(self, token: bytes, use: bytes) -> tuple[Seal, ...]:
        """Return the seal of ``token`` under each key, for one ``use`` of values."""
        return tuple([self._seal(key, token, use) for key in self._keys])

    def _seal(self, key: bytes, token: bytes, use: bytes) -> Seal:
        info = _PURPOSE + VERSION + self._settings + use
        derived = HKDF(SHA256(), NAME_BYTES + KEY_BYTES, salt=key, info=info).derive(token)
        return Seal(derived[:NAME_BYTES].hex(), derived[NAME_BYTES:], info)
