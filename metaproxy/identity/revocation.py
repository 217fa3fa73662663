"""Revocations as data: one token, the tokens of one login, or everything of a user or project."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import msgspec
import structlog
from cachetools import TTLCache

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint
from metaproxy.store.revocations import KEPT_SECONDS, MAX_RECORDED

logger = structlog.get_logger(__name__)


Name = tuple[str, str]
"""An attribute by which tokens are revoked, and its value."""

FINAL = frozenset({"fingerprint", "audit_id", "audit_chain_id"})
"""The attributes that name tokens themselves."""


class RevocationError(ValueError):
    """A revocation that names nothing, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Names what is revoked; where several attributes stand, an identity must match all.

    Args:
        fingerprint: the SHA-256 of a token, in hexadecimal.
        audit_id: one token, by the first of its audit ids.
        audit_chain_id: every token that descends from one login, by any of their audit ids.
        user_id, project_id, domain_id: every token of theirs.

    Raises RevocationError where no attribute stands.
    """

    fingerprint: str = field(default="", repr=False)
    audit_id: str = ""
    audit_chain_id: str = ""
    user_id: str = ""
    project_id: str = ""
    domain_id: str = ""

    def __post_init__(self) -> None:
        if not any(self.attributes()):
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
            return cls(**msgspec.json.decode(payload, type=dict[str, str]))
        except (msgspec.DecodeError, TypeError) as error:
            raise RevocationError("not a revocation") from error

    def payload(self) -> bytes:
        """Return the revocation as it is sent to other processes."""
        return msgspec.json.encode(dict(self.attributes()))

    def names(self) -> Iterator[Name]:
        """Yield the names of tokens that can never be valid again; users may get new ones."""
        return ((kind, value) for kind, value in self.attributes() if kind in FINAL)

    def attributes(self) -> Iterator[Name]:
        """Yield what it names, the narrowest first."""
        return ((kind, value) for kind, value in asdict(self).items() if value)

    def matches(self, identity: Identity, token_fingerprint: bytes) -> bool:
        """Say whether it speaks of the token of ``identity``."""
        domains = (identity.domain_id, identity.user_domain_id, identity.project_domain_id)
        own_names = set(token_names(identity, token_fingerprint))
        return (
            all(name in own_names for name in self.names())
            and (not self.user_id or self.user_id == identity.user_id)
            and (not self.project_id or self.project_id in (identity.project_id, *identity.tenant_ids))
            and (not self.domain_id or self.domain_id in domains)
        )


def token_names(identity: Identity, token_fingerprint: bytes) -> Iterator[Name]:
    """Yield every name under which the token of ``identity`` may be revoked.

    The first audit id is the token's own, a second that of the login it descends from (Identity API v3).
    """
    yield "fingerprint", token_fingerprint.hex()
    yield from (("audit_id", audit_id) for audit_id in identity.audit_ids[:1])
    yield from (("audit_chain_id", audit_id) for audit_id in identity.audit_ids)


MARGIN_SECONDS = 3.0
"""Validations that began so shortly after a revocation count no more, because clocks differ."""


class Voids:
    """The moments up to which validations count no more, because something was revoked.

    A verdict in memory is dropped when its token, user or project is revoked. One that is stored elsewhere
    may be withheld at that moment and handed out later. So a revocation is remembered with its moment, by one
    of its attributes. If it has several, this voids more verdicts than it names, which costs a question and
    no more. If the oldest of ``max_entries`` moments is evicted, every validation up to it counts no more.
    """

    def __init__(self, *, max_entries: int = MAX_RECORDED, monotonic: Clock = monotonic) -> None:
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._moments: OrderedDict[Name, float] = OrderedDict()
        self._everything = float("-inf")

    def add(self, name: Name, *, age: float = 0.0) -> None:
        """Remember that ``name`` was revoked ``age`` seconds ago."""
        moment = max(self._moments.pop(name, float("-inf")), self._monotonic() - age)
        self._moments[name] = moment
        if len(self._moments) > self._max_entries:
            _, evicted = self._moments.popitem(last=False)
            self._everything = max(self._everything, evicted)

    def add_everything(self, *, age: float = 0.0) -> None:
        """Let no validation count that began more than ``age`` seconds ago: revocations may be unknown."""
        self._everything = max(self._everything, self._monotonic() - age)

    def hold(self, identity: Identity, names: Iterator[Name], age: float) -> bool:
        """Say whether a validation of ``identity`` that began ``age`` seconds ago counts no more.

        ``names`` are those of the token, by which it may be revoked.
        """
        until = self._monotonic() - age - MARGIN_SECONDS
        if self._everything >= until:
            return True
        known = (self._moments.get(name) for name in (*names, *_owners(identity)))
        return any(moment is not None and moment >= until for moment in known)


def _owners(identity: Identity) -> Iterator[Name]:
    """Yield the names of everybody whose tokens can be revoked together."""
    yield "user_id", identity.user_id
    for project_id in (identity.project_id, *identity.tenant_ids):
        yield "project_id", project_id
    for domain_id in (identity.domain_id, identity.user_domain_id, identity.project_domain_id):
        yield "domain_id", domain_id


class RevokedTokens:
    """The tokens that were finally revoked, in case identity has not heard of it or is slow to.

    Of more than ``max_entries`` the oldest is forgotten first. No token should live for longer than
    ``KEPT_SECONDS``.
    """

    def __init__(self, *, max_entries: int = MAX_RECORDED, monotonic: Clock = monotonic) -> None:
        self._names: TTLCache[Name, None] = TTLCache(max_entries, KEPT_SECONDS, timer=monotonic)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def is_full(self) -> bool:
        """Return True if the next name pushes out the oldest."""
        return len(self._names) >= self._names.maxsize

    def add(self, revocation: Revocation) -> None:
        """Remember the tokens that ``revocation`` names."""
        for name in revocation.names():
            self._names[name] = None

    def hold(self, identity: Identity, token_fingerprint: bytes) -> bool:
        """Say whether the token of ``identity`` was revoked."""
        return any(name in self._names for name in token_names(identity, token_fingerprint))


class RevocationMemory:
    """The revocations of operators, and apart from them those of identity.

    Anybody can have identity say so by revoking tokens of their own, and must not push out what an operator
    has revoked. The memory outlives a change of configuration.
    """

    def __init__(self, *, max_entries: int = MAX_RECORDED, monotonic: Clock = monotonic) -> None:
        self._by_operators = RevokedTokens(max_entries=max_entries, monotonic=monotonic)
        self._by_identity = RevokedTokens(max_entries=max_entries, monotonic=monotonic)
        self._voids = Voids(max_entries=max_entries, monotonic=monotonic)
        self._made: OrderedDict[bytes, float] = OrderedDict()
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._is_overflow_logged = False

    def add(self, revocation: Revocation, *, age: float = 0.0) -> None:
        """Remember what an operator revoked ``age`` seconds ago."""
        if self._by_operators.is_full and not self._is_overflow_logged:
            self._is_overflow_logged = True
            logger.warning("too many revocations: the oldest is forgotten", remembered=self._max_entries)
        self._by_operators.add(revocation)
        self._voids.add(next(revocation.attributes()), age=age)
        payload = revocation.payload()
        self._made[payload] = max(self._made.pop(payload, float("-inf")), self._monotonic() - age)
        if len(self._made) > self._max_entries:
            self._made.popitem(last=False)

    def add_of_identity(self, revocation: Revocation) -> None:
        """Remember what identity says that it revoked."""
        self._by_identity.add(revocation)
        self._voids.add(next(revocation.attributes()))

    def doubt(self, *, age: float = 0.0) -> None:
        """Let no validation count that is stored elsewhere and began more than ``age`` seconds ago."""
        self._voids.add_everything(age=age)

    def void(self, identity: Identity, token_fingerprint: bytes, *, age: float) -> bool:
        """Say whether a validation that began ``age`` seconds ago was overtaken by a revocation."""
        return self._voids.hold(identity, token_names(identity, token_fingerprint), age)

    def hold(self, identity: Identity, token_fingerprint: bytes) -> bool:
        """Say whether the token of ``identity`` was revoked."""
        return any(
            tokens.hold(identity, token_fingerprint) for tokens in (self._by_operators, self._by_identity)
        )

    def made(self) -> dict[bytes, float]:
        """Return what operators have revoked, as it is sent to other processes, each with its age."""
        now = self._monotonic()
        return {
            payload: now - moment for payload, moment in self._made.items() if now - moment < KEPT_SECONDS
        }
