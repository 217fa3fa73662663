"""Short messages to every replica: purges of the cache, revocations of tokens.

A message is a few bytes on a named channel. Every subscription of the channel gets it, the sender's
own among them, in the order in which it was published. Nothing is kept for subscribers that were away.
So each subscription has two more callbacks:

    lost()              messages may have been missed, or may be missed from now on
    confirm(moment)     every message that was published before ``moment`` has been received

A broadcast over a network sends itself a heartbeat over the very connection that listens, and calls
``confirm`` each time one comes back. A connection on which none has come back for a lease is broken and
opened again. So a subscriber that was not confirmed for a lease knows that it may be deaf.
"""

from collections.abc import Callable
from typing import Protocol

Receive = Callable[[bytes], None]
Lost = Callable[[], None]
Confirm = Callable[[float], None]
"""Called with a moment on the monotonic clock of the broadcast."""
Unsubscribe = Callable[[], None]

LEASE_SECONDS = 2.0
"""How long a subscription counts after the last heartbeat that came back was sent, in all replicas."""

BEATS_A_LEASE = 4


def ignore(_moment: float) -> None:
    """Confirm nothing: the default of subscribers that need no leases."""


class Broadcast(Protocol):
    """The channel between replicas."""

    @property
    def name(self) -> str:
        """A name that no other connection to the same channels has."""
        ...

    @property
    def lossless(self) -> bool:
        """True if every subscription has received a payload when ``publish`` returns."""
        ...

    async def publish(self, channel: str, payload: bytes) -> int:
        """Send ``payload`` to every subscription of ``channel``; raises OSError when it can't be sent.

        Returns how many connections it was handed to, this one included.
        """
        ...

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel`` from now on, until what is returned is called.

        ``lost`` is called whenever messages may have been missed: the connection broke, is not there yet,
        or has just taken this subscription. It may be called several times for one outage. ``confirm`` is
        never called by a lossless broadcast. All are called from the event loop and must neither block nor
        raise.
        """
        ...


class LocalBroadcast:
    """The embedded default: messages between the parts of one process. Nothing is ever lost."""

    name = "local"
    lossless = True

    def __init__(self) -> None:
        self._receivers: dict[str, list[Receive]] = {}

    async def publish(self, channel: str, payload: bytes) -> int:
        """Hand ``payload`` to every subscription of ``channel`` before returning; return 1, or 0 for none."""
        receivers = tuple(self._receivers.get(channel, ()))
        for receive in receivers:
            receive(payload)
        return min(len(receivers), 1)

    def subscribe(self, channel: str, receive: Receive, lost: Lost, confirm: Confirm = ignore) -> Unsubscribe:
        """Call ``receive`` with every payload on ``channel``, until what is returned is called."""
        receivers = self._receivers.setdefault(channel, [])
        receivers.append(receive)
        return lambda: receivers.remove(receive)
