"""The check that redis-py is there, without importing it."""

from importlib import metadata

from metaproxy.store.unavailable import StoreNotInstalled

OLDEST_REDIS_PY = (7, 2, 0)
"""The tests of the store pass with this release and with the newest."""

INSTALL = "pip install 'metaproxy[redis]'"


def require_redis() -> None:
    """Raise StoreNotInstalled unless redis-py is installed and new enough.

    hiredis is not required: without it each command takes a connection of redis-py's pool, which is slower.
    """
    try:
        version = metadata.version("redis")
    except metadata.PackageNotFoundError:
        raise StoreNotInstalled(f"store.url needs the extra redis: {INSTALL}") from None
    if _numbers(version) < OLDEST_REDIS_PY:
        oldest = ".".join(map(str, OLDEST_REDIS_PY))
        raise StoreNotInstalled(
            f"store.url needs redis-py {oldest} or newer, and {version} is installed: {INSTALL}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of ``version``: (5, 1) for ``5.1.0b2`` is enough to compare."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
