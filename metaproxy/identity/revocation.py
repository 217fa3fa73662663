"""What is revoked, as data: one token, the tokens of one login, or everything of a user or project."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import msgspec
from cachetools import TTLCache

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint


class RevocationError(ValueError):
    """A revocation that names nothing, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Names what is revoked; where several attributes stand, an identity must match all.

    ``fingerprint`` is the SHA-256 of a token in hexadecimal. ``audit_id`` names a token, or the login
    that a chain of tokens began with. Raises RevocationError where no attribute stands.
    """

    fingerprint: str = field(default="", repr=False)
    audit_id: str = ""
    user_id: str = ""
    project_id: str = ""
    domain_id: str = ""

    def __post_init__(self) -> None:
        if not any(asdict(self).values()):
            raise RevocationError("a revocation names a token, an audit id, a user, a project or a domain")

    @classmethod
    def of_token(cls, token: str) -> "Revocation":
        """Return the revocation of ``token``; the result does not hold it."""
        if not token:
            raise RevocationError("an empty token cannot be revoked")
        return cls(fingerprint=fingerprint(token.encode()).hex())

    @classmethod
    def from_payload(cls, payload: bytes) -> "Revocation":
        """Return what ``payload`` writes; raises RevocationError."""
        try:
            fields = msgspec.json.decode(payload, type=dict[str, str])
            return cls(**fields)
        except (msgspec.DecodeError, TypeError) as error:
            raise RevocationError("not a revocation") from error

    def payload(self) -> bytes:
        """Return the revocation as it is sent to other processes."""
        return msgspec.json.encode({name: value for name, value in asdict(self).items() if value})

    @property
    def is_final(self) -> bool:
        """Whether what it names can never be valid again; a user or project may get new tokens."""
        return bool(self.fingerprint or self.audit_id)

    def matches(self, identity: Identity, token_fingerprint: bytes) -> bool:
        """Say whether it speaks of the token of ``identity``."""
        domains = (identity.domain_id, identity.user_domain_id, identity.project_domain_id)
        return (
            (not self.fingerprint or self.fingerprint == token_fingerprint.hex())
            and (not self.audit_id or self.audit_id in identity.audit_ids)
            and (not self.user_id or self.user_id == identity.user_id)
            and (not self.project_id or self.project_id in (identity.project_id, *identity.tenant_ids))
            and (not self.domain_id or self.domain_id in domains)
        )


class RevokedTokens:
    """Remembers what was finally revoked, in case identity has not heard of it or is slow to.

    Args:
        max_entries: how many; the oldest is forgotten first.
        ttl: seconds for which one is remembered: no token should live longer.
    """

    def __init__(
        self, *, max_entries: int = 10_000, ttl: float = 86_400.0, monotonic: Clock = monotonic
    ) -> None:
        self._names: TTLCache[str, None] = TTLCache(maxsize=max_entries, ttl=ttl, timer=monotonic)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, revocation: Revocation) -> None:
        """Remember ``revocation`` where it is final."""
        if revocation.is_final:
            self._names[revocation.fingerprint or revocation.audit_id] = None

    def __contains__(self, names: tuple[Identity, bytes]) -> bool:
        """Say whether the token of an identity, with its fingerprint, was revoked."""
        identity, token_fingerprint = names
        return any(name in self._names for name in _names(identity, token_fingerprint))


def _names(identity: Identity, token_fingerprint: bytes) -> Iterator[str]:
    yield token_fingerprint.hex()
    yield from identity.audit_ids
