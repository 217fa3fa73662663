"""The base of every check: it decides about a request, and is ASGI middleware around an application, too."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.asgi import Stage, carry_out
from metaproxy.exchange import Exchange
from metaproxy.protocol.faults import Fault
from metaproxy.verdicts import PASS, Verdict, Wait

TargetCheck: TypeAlias = Callable[[Scope], bool]
"""True for a scope whose target passes. ``decide`` must be asked about any other."""

Decided: TypeAlias = tuple[Fault | None, bytes]
"""The reason why a request is refused, None if it passes; and header lines for its answer."""

GOES_ON: Decided = (None, b"")


async def no_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise RuntimeError: a check of a line has no application of its own behind it."""
    raise RuntimeError("a check without an application can only be asked to decide")


def always(scope: Scope) -> bool:
    """Let every target pass."""
    return True


class Check(Stage):
    """Decides about requests. Subclasses implement ``decide``.

    A line asks ``decide`` once about each request. Around an application of its own (``app``), a check is
    ASGI middleware.
    """

    app: ASGIApp = staticmethod(no_application)

    holds_for_kinds = True
    """True if what ``target_check`` and ``prepared`` return for a read without a query is right for every
    path of its kind (``compute_api.kind_of_path``)."""

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Decide about the request; write what was found out into ``exchange`` and ``scope``."""
        raise NotImplementedError

    passes_any_target = False
    """True if any target passes once ``decide`` has let a read pass, or is held by what is ``prepared``."""

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck | None:
        """Return which targets pass, given a read whose header fields ``decide`` has let pass before.

        ``scope`` may have another method and target than that request. The Exchange is as ``decide`` left
        it. None if ``decide`` must be asked about this target.
        """
        return always if self.passes_any_target else None

    def prepared(self, exchange: Exchange, scope: Scope) -> "Prepared | None":
        """Return the decision about later requests with the head and the token's record of this one.

        None if the verdict rests on these alone, so that the next one gets the same.
        """
        return None

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what passes, and answer what does not."""
        verdict = self.decide(exchange, scope)
        while isinstance(verdict, Wait):
            verdict = await verdict
        await carry_out(verdict, self.app, exchange, scope, receive, send)


def decide_again(decisions: "Sequence[Prepared]", exchange: Exchange) -> Verdict:
    """Ask ``decisions`` from the place where ``exchange`` is, up to the first that does not let it pass.

    If one fails, what the others have begun is ended.
    """
    try:
        for place in range(exchange.place, len(decisions)):
            verdict = decisions[place].decide(exchange)
            if verdict is not PASS:
                exchange.place = place + 1
                return verdict
    except Exception:
        exchange.end()
        raise
    exchange.place = len(decisions)
    return PASS


class Prepared:
    """The decision of a check about one request, for when the same head comes again."""

    __slots__ = ()

    def decide(self, exchange: Exchange) -> Verdict:
        """Decide as ``decide`` of the check does."""
        raise NotImplementedError

    def admit(self, now: float) -> Decided | None:
        """Decide about a request that comes ``now`` (monotonic seconds), and is answered at once.

        None if memory cannot decide; nothing was counted then.
        """
        raise NotImplementedError

    def can_decide(self, now: float) -> bool:
        """Say whether ``admit`` would decide about a request that comes ``now``. Nothing is counted."""
        return True

    def refuse(self, now: float) -> Decided | None:
        """Do what ``admit`` does for a request that is refused now, or would not be counted; else None."""
        raise NotImplementedError
