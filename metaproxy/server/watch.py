"""Noticing that the configuration file has changed.

The folder is watched, not the file: editors write a new file and rename it, and Kubernetes mounts a
ConfigMap as a symbolic link whose target changes. What counts is whether the bytes that the path leads
to are others than before.
"""

from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path

import watchfiles

STEP_MILLISECONDS = 200
"""How long several changes are taken as one."""

LOOK_MILLISECONDS = 5000
"""How often to look without being told: file systems of the network tell nothing."""


async def changes(path: Path, known: bytes | None) -> AsyncGenerator[None]:
    """Yield each time the content of ``path`` has become another; a file that is gone is no change.

    ``known`` is the digest of the content that is known already; see ``digest``.
    """
    folder = path.absolute().parent  # noqa: ASYNC240 - asks the kernel for the working folder, no disk
    if (found := digest(path)) != known and found is not None:
        known = found
        yield
    async for _ in watchfiles.awatch(
        folder,
        watch_filter=None,
        step=STEP_MILLISECONDS,
        debounce=2 * STEP_MILLISECONDS,
        recursive=False,
        rust_timeout=LOOK_MILLISECONDS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        found = digest(path)
        if found is not None and found != known:
            known = found
            yield


def digest(path: Path) -> bytes | None:
    """Return what tells the content of ``path`` from another; None where there is none."""
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return None
