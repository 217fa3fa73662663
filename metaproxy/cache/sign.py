"""The sign that replicas in touch leave in the shared store: its entries have missed no purge.

A replica that starts cannot know what happened to the store before. While another replica is in touch, that
one empties the store if it must. If none was, purges may be missing: they were refused, or the store was
restored with older data.
"""

from contextlib import suppress

from metaproxy.store.entries import SharedEntries

SIGN = b"sign"
TAGS = ("sign",)
LEASES = 2.5
"""How many leases a sign is kept."""


class Sign:
    """Leaves and finds the sign.

    Args:
        lease_seconds: how often the sign is left.
    """

    def __init__(self, entries: SharedEntries, lease_seconds: float) -> None:
        self._entries = entries
        self._lease_seconds = lease_seconds
        self._due = float("-inf")

    def is_due(self, now: float) -> bool:
        """Return True if the sign must be left at ``now`` (monotonic); the caller then leaves it."""
        if now < self._due:
            return False
        self._due = now + self._lease_seconds
        return True

    async def leave(self) -> None:
        """Leave the sign."""
        with suppress(OSError):
            found = await self._entries.get(SIGN, TAGS)
            await self._entries.put(SIGN, SIGN, found, LEASES * self._lease_seconds)

    async def is_there(self) -> bool:
        """Return True if a replica has left it a moment ago. It counts as absent if it cannot be read."""
        try:
            return (await self._entries.get(SIGN, TAGS)).content is not None
        except OSError:
            return False
