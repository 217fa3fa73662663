"""Tokens written down beforehand: for tests, demonstrations and machines without a Keystone.

Only their SHA-256 is held, and only it needs to stand in a file (``metaproxy hash-token`` writes it).
A plain hash protects tokens that are long and random; a short word that somebody chose can be guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from metaproxy.clock import Clock, wall
from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint, parse_hash
from metaproxy.identity.validator import TokenRejected, TokenValidator


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticToken:
    """One token and who it speaks for.

    Give ``token`` itself or its ``token_hash`` (``sha256:…``); raises ValueError for none or both.
    """

    identity: Identity
    token: str = field(default="", repr=False)
    token_hash: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if bool(self.token) == bool(self.token_hash):
            raise ValueError("a static token needs either the token or its hash")

    def digest(self) -> bytes:
        """Return the SHA-256 of the token; raises ValueError for a hash that cannot be read."""
        return fingerprint(self.token.encode()) if self.token else parse_hash(self.token_hash)


class StaticTokens(TokenValidator):
    """Knows the tokens that it was given and no others.

    Args:
        tokens: the tokens; the same token twice is a ValueError.
    """

    def __init__(self, tokens: Iterable[StaticToken], *, wall: Clock = wall) -> None:
        self._wall = wall
        self._identities: dict[bytes, Identity] = {}
        for token in tokens:
            digest = token.digest()
            if digest in self._identities:
                raise ValueError("a static token stands twice")
            self._identities[digest] = token.identity

    def __len__(self) -> int:
        return len(self._identities)

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Look the token up; see ``TokenValidator.validate``. An ``expires_at`` of 0 is never."""
        identity = self._identities.get(fingerprint(token))
        if identity is None:
            raise TokenRejected
        if not allow_expired and 0 < identity.expires_at <= self._wall():
            raise TokenRejected("token_expired")
        return identity
