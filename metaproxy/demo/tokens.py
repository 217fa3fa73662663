"""The tokens of the demo's identity service. No HTTP here."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cachetools import LRUCache

from metaproxy.clock import Clock
from metaproxy.demo.world import ALICE, EXPIRED_TOKEN, Person

FIXED_LIFETIME_SECONDS: Final = 30 * 86400.0
MAX_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """A token: whose, and from when to when (seconds since the epoch)."""

    text: str = field(repr=False)
    person: Person
    issued_at: float
    expires_at: float
    method: str = "password"
    audit_id: str = field(default_factory=lambda: uuid.uuid4().hex[:22])


class TokenTable:
    """The tokens that there are: the fixed ones of ``people``, and those issued since.

    At most MAX_TOKENS are remembered; the least recently used are forgotten first.
    """

    def __init__(self, people: Iterable[Person], *, wall: Clock, lifetime_seconds: float = 3600.0) -> None:
        self._wall = wall
        self._lifetime_seconds = lifetime_seconds
        self._tokens: LRUCache[str, Token] = LRUCache(MAX_TOKENS)
        now = wall()
        for person in people:
            if person.token:
                self._keep(Token(person.token, person, now, now + FIXED_LIFETIME_SECONDS))
        self._keep(Token(EXPIRED_TOKEN, ALICE, now - 7200, now - 3600))

    def issue(self, person: Person, method: str) -> Token:
        """Return a new token of ``person``."""
        now = self._wall()
        return self._keep(Token(uuid.uuid4().hex, person, now, now + self._lifetime_seconds, method))

    def find(self, text: str, *, allow_expired: bool = False) -> Token | None:
        """Return the token that ``text`` is, or None for one that is unknown, revoked or has run out."""
        token = self._tokens.get(text)
        if token is None or (token.expires_at <= self._wall() and not allow_expired):
            return None
        return token

    def revoke(self, text: str) -> None:
        """Forget a token."""
        self._tokens.pop(text, None)

    def _keep(self, token: Token) -> Token:
        self._tokens[token.text] = token
        return token
