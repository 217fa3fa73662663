"""What the store really takes: a million answers are offered, and the process's memory is looked at.

    python -m tests.bench.cache_memory [entries] [max MiB]

The bound must hold as the operating system counts, not only as the store does. Each answer is offered as
the stage makes it, of fresh bytes, and used once, so that its hit is kept ready as well.
"""

import resource
import sys
from pathlib import Path

from metaproxy.cache.memory import MemoryStore
from metaproxy.cache.stored import Stored
from metaproxy.protocol.caching.reuse import Terms

FIELDS = (
    (b"content-type", b"application/json"),
    (b"openstack-api-version", b"compute 2.1"),
    (b"x-openstack-nova-api-version", b"2.1"),
    (b"vary", b"OpenStack-API-Version"),
    (b"vary", b"X-OpenStack-Nova-API-Version"),
    (b"date", b"Tue, 24 Nov 2026 12:00:00 GMT"),
)


def resident_bytes() -> int:
    """Return the memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def fresh(text: bytes) -> bytes:
    """Return a bytes object of its own, as a parser makes one for each answer."""
    return bytes(bytearray(text))


def offer(store: MemoryStore, number: int, now: float) -> None:
    """Store an answer that no other shares anything with."""
    image = f"{number:08x}-0000-4000-8000-000000000000"
    path = f"/v2.1/images/{image}/metadata/label".encode()
    key = (b"p" * 16, "http", fresh(b"127.0.0.1:8774"), path, b"", b"application/json")
    answer = Stored(
        status=200,
        fields=tuple((fresh(name), fresh(value)) for name, value in FIELDS),
        body=b'{"meta": {"label": "%08d"}}' % number,
        terms=Terms(lifetime=60.0),
        born=now,
        asked_at=now,
        vary=((b"openstack-api-version", None), (b"x-openstack-nova-api-version", None)),
        tags=(f"image:{image}", f"tenant:{number % 1000}"),
    )
    store.put(key, answer)
    answer.hit(now + 1, "metaproxy")


def measure(entries: int, max_bytes: int) -> tuple[int, int, int]:
    """Offer ``entries`` answers; return the keys held, the bytes counted and the growth of memory."""
    before = resident_bytes()
    store = MemoryStore(max_bytes=max_bytes, max_entry_bytes=2**20)
    largest = 0
    for number in range(entries):
        offer(store, number, float(number))
        if number % 10_000 == 0:
            largest = max(largest, resident_bytes() - before)
    return len(store), store.bytes, max(largest, resident_bytes() - before)


def main() -> None:
    """Measure, and say what came of it."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    max_bytes = (int(sys.argv[2]) if len(sys.argv) > 2 else 64) * 2**20
    keys, counted, grown = measure(entries, max_bytes)
    print(f"{entries} answers offered, {keys} held, bound {max_bytes / 2**20:.0f} MiB")
    print(f"counted {counted / 2**20:.1f} MiB ({counted / keys:.0f} bytes each), ", end="")
    print(f"memory grew by {grown / 2**20:.1f} MiB at most ({grown / keys:.0f} bytes each)")


if __name__ == "__main__":
    main()
