"""Counters as they are sent to the hub, and back."""

from hashlib import blake2b

from metaproxy.memo import Memo
from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.gcra import Gcra
from metaproxy.protocol.limits.policy import Policy
from metaproxy.store.counters import Counter, consumer_part
from metaproxy.store.hub.messages import MAX_KEY, RatedCounter

MEMO_POLICIES = 1024
LONGEST_KEY = 256
"""Characters. Of a longer key only the consumer stays readable. So the keys that a hub holds are bounded."""


def sent_counter(counter: Counter) -> RatedCounter:
    """Return ``counter`` as it is sent to the hub."""
    key, policy = counter
    is_window = isinstance(policy, FixedWindow)
    return RatedCounter(bounded(key), is_window, policy.weight, policy.capacity, policy.pace)


def bounded(key: str) -> str:
    """Return ``key``, or a digest of it with its consumer if it is long."""
    if len(key) <= LONGEST_KEY:
        return key
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    shortened = f"{digest}/{consumer_part(key)}"
    return shortened if len(shortened) <= MAX_KEY else digest


class ReceivedCounters:
    """Makes counters of what workers send. The policies of the same numbers are one object."""

    def __init__(self) -> None:
        self._policies: Memo[tuple[bool, int, int, int], Policy] = Memo(MEMO_POLICIES)

    def counter(self, sent: RatedCounter) -> Counter:
        """Return the counter that a worker has ``sent``."""
        numbers = sent.is_window, sent.weight, sent.capacity, sent.pace
        policy = self._policies.get(numbers)
        if policy is None:
            policy = self._policies.keep(numbers, _policy(*numbers))
        return Counter(sent.key, policy)


def _policy(is_window: bool, weight: int, capacity: int, pace: int) -> Policy:
    return FixedWindow(capacity, pace, weight) if is_window else Gcra(weight, capacity, pace)
