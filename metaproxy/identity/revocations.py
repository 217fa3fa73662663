"""Revocations made by an operator, told to every process that holds verdicts.

A message carries a token's SHA-256, never the token. Where messages may have been missed, every verdict
is doubted: identity is asked about each token once more.
"""

import structlog

from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation, RevocationError
from metaproxy.store.broadcast import Broadcast, Unsubscribe

CHANNEL = "revocations"

logger = structlog.get_logger(__name__)


class Revocations:
    """Revokes tokens here and in every other process.

    Args:
        validator: whose verdicts are forgotten.
        broadcast: reaches the other processes.
    """

    def __init__(self, validator: CachedValidator, broadcast: Broadcast) -> None:
        self._validator = validator
        self._broadcast = broadcast
        self._unsubscribe: Unsubscribe | None = None

    async def start(self) -> None:
        """Listen to what other processes revoke."""
        if self._unsubscribe is None:
            self._unsubscribe = self._broadcast.subscribe(CHANNEL, self._received, self._validator.doubt)

    async def close(self) -> None:
        """Listen no more."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    async def revoke(self, revocation: Revocation) -> int:
        """Revoke here, tell the others, and return how many verdicts this process had.

        Raises OSError where the others could not be told; here it is done even then.
        """
        forgotten = self._validator.revoke(revocation)
        logger.info("tokens revoked", forgotten=forgotten)
        await self._broadcast.publish(CHANNEL, revocation.payload())
        return forgotten

    def _received(self, payload: bytes) -> None:
        try:
            self._validator.revoke(Revocation.from_payload(payload))
        except RevocationError:
            # A newer version may name what this one does not know: rather ask once too often.
            logger.warning("a revocation could not be read; every token is asked about anew")
            self._validator.doubt()
