"""Reloads of a process that serves without a supervisor."""

import asyncio
from dataclasses import KW_ONLY, dataclass, field

import structlog

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.clock import Clock, wall
from metaproxy.server.notify import Notifier
from metaproxy.server.reload import Reloader, refused, taken
from metaproxy.server.source import Source
from metaproxy.server.watch import Watch

logger = structlog.get_logger("metaproxy")


@dataclass(slots=True, eq=False)
class Alone:
    """Reads the configuration and takes it into use in this process.

    Args:
        watch: notices changes of the files; None if they are not watched.
    """

    source: Source
    reloader: Reloader
    _: KW_ONLY
    watch: Watch | None = None
    notifier: Notifier
    time: Clock = wall
    _one_at_a_time: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    async def reload(self, cause: str) -> ConfigState:
        """Reload; raises ReloadRefused, and then nothing has changed."""
        async with self._one_at_a_time:
            self.notifier.reloading()
            try:
                return await self._reload(cause)
            finally:
                self.notifier.ready()

    async def _reload(self, cause: str) -> ConfigState:
        reloader = self.reloader
        try:
            config, needs_restart = await asyncio.to_thread(self.source.read)
            unchanged = config.files.are_as_in(reloader.application.config.files)
            if unchanged and cause == "file" and not reloader.state.problems:
                return reloader.state  # another reload has just read the same change
            prepared = await reloader.prepare(config)
        except ReloadRefused as error:
            reloader.refuse(refused(reloader.state, error.problems, self.time()))
            log_refusal(cause, error.problems)
            raise
        reloader.take(prepared, taken(reloader.state, needs_restart, self.time(), unchanged=unchanged))
        log_reload(cause, reloader.state)
        return reloader.state

    async def try_to_reload(self, cause: str) -> None:
        """Reload; the log and the metrics show if it was refused."""
        try:
            await self.reload(cause)
        except ReloadRefused:
            return

    async def follow_files(self) -> None:
        """Reload whenever a file has changed, for ever."""
        while self.watch is not None:
            await asyncio.sleep(self.watch.pause)
            async with self._one_at_a_time:
                # In a thread: a file system of the network may hang.
                changed = await asyncio.to_thread(self.watch.look)
            if changed:
                await self.try_to_reload("file")


def log_reload(cause: str, state: ConfigState) -> None:
    """Log that a configuration is in use."""
    logger.info(
        "configuration reloaded",
        cause=cause,
        generation=state.generation,
        needs_restart=list(state.needs_restart),
        **({"unchanged": True} if state.unchanged else {}),
    )


def log_refusal(cause: str, problems: tuple[str, ...]) -> None:
    """Log that a configuration was refused."""
    logger.error("configuration refused, the one in use stays", cause=cause, problems=list(problems))
