"""Background tasks that somebody holds."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class TaskSet:
    """Holds tasks until they end, logs how they failed, and cancels what is left at the end.

    The event loop keeps only weak references to tasks: one that nobody holds may vanish half-way.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
        """Run ``coroutine`` as a task and hold it until it has ended."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel every task that still runs, and wait until all have ended.

        Each has begun by then: a task that is cancelled before its first step runs nothing, not even what
        would give back what it was given.
        """
        running = list(self._tasks)
        await asyncio.sleep(0)  # tasks begin in the order in which they were made
        for task in running:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def join(self) -> None:
        """Wait until every task has ended by itself."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background task failed", task=task.get_name(), exc_info=error)
