"""When a failed request is sent again, and how many may be.

Only requests that change nothing are repeated (RFC 9110 §9.2.1), and only before any of the answer has
gone to the client. The budget keeps repeats a fraction of all requests: an upstream that fails because
it is overloaded must not get more load for it.
"""

from metaproxy.clock import Clock

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class RetryBudget:
    """A balance that requests fill and repeats empty.

    Args:
        share: how many repeats each request pays for.
        per_second: repeats that are free each second, so that a quiet service can repeat too.
        most: the highest balance.
        monotonic: the clock of ``per_second``.
    """

    def __init__(
        self, *, monotonic: Clock, share: float = 0.2, per_second: float = 1.0, most: float = 100.0
    ) -> None:
        self._monotonic = monotonic
        self._share = share
        self._per_second = per_second
        self._most = most
        self._balance = per_second
        self._filled = monotonic()

    def deposit(self) -> None:
        """Count a request."""
        if self._balance < self._most:
            self._balance = min(self._balance + self._share, self._most)

    def withdraw(self) -> bool:
        """Take a repeat out of the budget; False where there is none left."""
        now = self._monotonic()
        self._balance = min(self._balance + (now - self._filled) * self._per_second, self._most)
        self._filled = now
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True
