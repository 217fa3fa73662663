"""Noticing that the configuration file has changed.

The folder is watched, not the file: editors write a new file and rename it, and Kubernetes mounts a
ConfigMap as a symbolic link whose target changes. What counts is whether the bytes that the path leads
to are others than before.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import watchfiles

STEP_MILLISECONDS = 200
"""How long several changes are taken as one."""


async def changes(path: Path) -> AsyncIterator[None]:
    """Yield each time the content of ``path`` has become another; a file that is gone is no change."""
    known = _digest(path)
    folder = path.absolute().parent  # noqa: ASYNC240 - asks the kernel for the working folder, no disk
    async for _ in watchfiles.awatch(
        folder,
        watch_filter=None,
        step=STEP_MILLISECONDS,
        debounce=2 * STEP_MILLISECONDS,
        recursive=False,
        ignore_permission_denied=True,
    ):
        found = _digest(path)
        if found is not None and found != known:
            known = found
            yield


def _digest(path: Path) -> bytes | None:
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return None
