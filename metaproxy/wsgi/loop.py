"""An event loop in a thread of its own, for servers that have none."""

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

STOP_SECONDS = 5.0


class LoopThread:
    """Runs coroutines for other threads, until ``stop`` or the end of the process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="metaproxy", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run ``coroutine`` on the loop; its result is waited for in the thread that calls."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop_at_exit(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Before the process ends, run ``last`` and stop."""
        atexit.register(self._stop, last)

    def stop(self) -> None:
        """Stop the loop and wait until its thread has ended."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_SECONDS)

    def _stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.loop.is_closed() or not self._thread.is_alive():
            return
        with suppress(Exception):  # the process ends: there is nobody left to tell
            self.submit(last()).result(STOP_SECONDS)
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()
