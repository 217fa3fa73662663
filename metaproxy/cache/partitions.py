"""Partitions: who shares stored answers with whom.

An answer is stored for a partition and served to that partition alone. Everything that the origin may look at
when it decides whether someone may see an answer is part of the partition: within ``project`` scope
the project, but also the roles, the groups and the other marks of rank that a policy rule can name. So a
cached answer is never served to someone whom the origin might have refused; two users share what is
stored only if they hold the same roles and groups in the same project.
"""

from enum import StrEnum
from hashlib import blake2b
from weakref import ref

from metaproxy.exchange import Exchange, Identity
from metaproxy.memo import Memo

MEMO_ENTRIES = 16384

EXTRA_RANK = ("map_roles", "impersonator_id", "impersonator_roles")
"""The keys of ``Identity.extra`` that the upstream gets and may decide by."""


class Scope(StrEnum):
    """How widely stored answers are shared."""

    PROJECT = "project"
    USER = "user"
    TOKEN = "token"  # noqa: S105 - a scope, not a secret
    SHARED = "shared"


class Partitions:
    """Gives each identity its partition, remembered per identity object."""

    def __init__(self, scope: Scope | str) -> None:
        self.scope = Scope(scope)
        self._memo: Memo[int, tuple[ref[Identity], bytes]] = Memo(MEMO_ENTRIES)

    def of(self, exchange: Exchange) -> bytes | None:
        """Return the partition of a request; None where it belongs to nobody known."""
        if self.scope is Scope.SHARED:
            return b""
        identity = exchange.identity
        if identity is None or (self.scope is Scope.TOKEN and not identity.token_digest):
            return None
        found = self._memo.get(id(identity))
        # The memo keeps no identity alive; it looks whether the id still means the same one.
        partition = found[1] if found is not None and found[0]() is identity else self._remember(identity)
        if exchange.service_identity is not None:
            return partition + _digest(b"service", self._words(exchange.service_identity))
        return partition

    def _remember(self, identity: Identity) -> bytes:
        partition = _digest(self.scope.encode(), self._words(identity))
        self._memo.keep(id(identity), (ref(identity), partition))
        return partition

    def _words(self, identity: Identity) -> tuple[str, ...]:
        roles = sorted(set(identity.roles))
        words = (
            identity.project_id,
            identity.domain_id,
            identity.system_scope,
            str(identity.is_admin_project),
            repr(identity.access_rules),  # the upstream may judge them, too
            *(identity.extra.get(name, "") for name in EXTRA_RANK),
            str(len(roles)),  # so that no role reads as a group
            *roles,
            *sorted(f"{quality} {name}" for name, quality in set(identity.groups)),
        )
        acts_in = identity.project_id or identity.domain_id or identity.system_scope
        if self.scope is Scope.PROJECT and acts_in:
            return words
        # Also who acts in no project, domain or system: such users have nothing in common.
        user = (*words, identity.user_id, identity.user_domain_id)
        return (*user, identity.token_digest.hex()) if self.scope is Scope.TOKEN else user


def _digest(kind: bytes, words: tuple[str, ...]) -> bytes:
    """A short name for ``words``; lengths go in, so that no two lists of words read the same."""
    digest = blake2b(kind, digest_size=16)
    for word in words:
        text = word.encode()
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.digest()
