"""The two clocks, as arguments: everything that needs the time is handed one of these.

``Clock`` counts seconds. Durations are measured with a monotonic clock, dates are made from a wall
clock; what takes either says which in its parameter's name (``monotonic``, ``wall``).
"""

import time
from collections.abc import Callable

Clock = Callable[[], float]

monotonic: Clock = time.monotonic
wall: Clock = time.time  # noqa: TID251 - the one place from which the wall clock is handed out
