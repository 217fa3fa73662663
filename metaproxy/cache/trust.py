"""Trust in stored answers: does this process receive every write?"""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Trust:
    """From when and until when this process has heard of every write (monotonic seconds).

    A stored answer counts if its origin was asked at ``since`` or later, and until ``until``; else the
    origin must be asked again. Alone, a process sees every write itself, and trusts without end.
    """

    since: float = -math.inf
    until: float = math.inf

    def covers(self, asked_at: float, now: float) -> bool:
        """True if an answer that the origin gave when asked at ``asked_at`` still counts at ``now``."""
        return asked_at >= self.since and now < self.until

    def end(self) -> None:
        """Trust nothing."""
        self.since, self.until = math.inf, -math.inf

    def renew(self, heard_at: float, until: float) -> None:
        """Trust until ``until``; after ``end``, only what the origin says from ``heard_at`` on."""
        if self.since == math.inf:
            self.since = heard_at
        self.until = max(self.until, until)
