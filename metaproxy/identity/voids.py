"""The moments up to which validations count no more, because something was revoked.

Facts this file rests on. A verdict in memory is dropped when its token, user or project is revoked. A verdict
that is stored elsewhere cannot be dropped: it may be withheld at that moment and handed out later. So a
revocation is remembered with its moment, and a stored verdict of which it speaks counts only if its
validation began later. A revocation is found by one of its attributes. If it has several, this voids more
verdicts than it names, which costs a question and no more. The memory is bounded: if the oldest moment is
evicted, every validation up to it counts no more.
"""

from collections import OrderedDict
from collections.abc import Iterator

from metaproxy.clock import Clock, monotonic
from metaproxy.exchange import Identity
from metaproxy.store.revocations import MAX_RECORDED

Name = tuple[str, str]
"""An attribute by which tokens are revoked, and its value."""

MARGIN_SECONDS = 3.0
"""Validations that began so shortly after a revocation count no more, because clocks differ."""


class Voids:
    """Moments of revocations, by what they name.

    Args:
        max_entries: how many; the oldest is evicted first.
        monotonic: the clock of the moments.
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
