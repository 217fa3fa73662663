"""The port through which the proxy asks who a token speaks for.

Three things can come of it: an ``Identity``, ``TokenRejected`` (identity has spoken: this token is not
valid) or ``IdentityUnavailable`` (identity has not spoken, or not in a way that can be believed; see
``metaproxy.identity.troubles``). Nothing else ends in a request being let through.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from metaproxy.exchange import Identity

Reason = Literal[
    "token_missing",
    "token_unknown",
    "token_expired",
    "token_revoked",
    "token_too_long",
    "token_bound",
    "access_rules",
    "access_rules_unreadable",
    "access_rules_not_judged",
    "identity_unavailable",
]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Identity's verdict that a token is not valid; ``reason`` is one word from a fixed set."""

    reason: Reason


Verdict: TypeAlias = Identity | Rejected
"""The verdict of identity on a token."""


class TokenRejected(Exception):
    """Raised for a token that is not valid."""

    def __init__(self, reason: Reason = "token_unknown") -> None:
        super().__init__(reason)
        self.verdict = Rejected(reason)


class TokenValidator:
    """Something that knows, or can find out, who a token speaks for.

    Subclasses implement ``validate``; those without connections inherit an empty life.
    """

    async def validate(self, token: bytes, *, allow_expired: bool = False) -> Identity:
        """Return who ``token`` speaks for.

        Args:
            token: the token as the client sent it.
            allow_expired: accept a token past its expiry, for a service that carries on a user's job.

        Raises:
            TokenRejected: identity does not know the token, or it has expired or was revoked.
            IdentityUnavailable: identity gave no verdict.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Open what must be open; raises IdentityUnavailable where identity gives no answer."""

    async def close(self) -> None:
        """Let go of connections and tasks."""
