"""A worker that takes its configuration from its supervisor, and leaves when that is gone."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import assert_never

import structlog

from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.server.messages import (
    Ask,
    BreakOff,
    Outcome,
    Prepare,
    Prepared,
    Serving,
    Show,
    Take,
    ToSupervisor,
    ToWorker,
    framed,
    received,
)
from metaproxy.server.reload import Prepared as PreparedApplication
from metaproxy.server.reload import Reloader

logger = structlog.get_logger("metaproxy")

ANSWER_SECONDS = 30.0
"""How long an operator's call waits until all workers have reloaded."""


class Follower:
    """The worker's end of the connection to its supervisor.

    Args:
        break_off: ends this worker at once.
    """

    def __init__(self, end: socket.socket, reloader: Reloader, *, break_off: Callable[[], None]) -> None:
        self._end = end
        self._reloader = reloader
        self._break_off = break_off
        self.has_failed = False
        """True if this worker cannot do what the supervisor says."""
        self._prepared: PreparedApplication | None = None
        self._unsaid: list[ToSupervisor] = []
        self._asked: dict[int, asyncio.Future[Outcome]] = {}
        self._numbers = itertools.count()
        self._writer: asyncio.StreamWriter | None = None

    async def follow(self) -> None:
        """Do what the supervisor says; return if it is gone, or if this worker cannot do it."""
        reader, self._writer = await asyncio.open_connection(sock=self._end)
        self._say(Serving(self._reloader.state))
        unsaid, self._unsaid = self._unsaid, []
        for message in unsaid:
            self._say(message)
        try:
            async for received_message in received(reader):
                if not await self._obey(received_message):
                    return
        finally:
            self._writer.close()
        logger.error("the supervisor is gone, the worker leaves")

    async def reload(self, cause: str) -> ConfigState:
        """Have all workers reload; raises ReloadRefused."""
        number = next(self._numbers)
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        self._say(Ask(number, cause))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                outcome = await answered
        except TimeoutError:
            raise ReloadRefused(["the supervisor did not answer"]) from None
        finally:
            del self._asked[number]
        if outcome.problems:
            raise ReloadRefused(outcome.problems)
        return self._reloader.state

    def ask(self, cause: str) -> None:
        """Have all workers reload, and do not wait for it."""
        self._say(Ask(next(self._numbers), cause))

    async def _obey(self, message: ToWorker) -> bool:
        match message:
            case Prepare():
                await self._prepare(message)
            case Take():
                if self._prepared is None:
                    logger.error("this worker cannot use the configuration of the others, it leaves")
                    self.has_failed = True
                    return False
                self._reloader.take(self._prepared, message.state)
                self._prepared = None
            case Show():
                await self._drop()
                self._reloader.refuse(message.state)
            case Outcome():
                answered = self._asked.get(message.number)
                if answered is not None and not answered.done():
                    answered.set_result(message)
            case BreakOff():
                self._break_off()
            case _:
                assert_never(message)
        return True

    async def _prepare(self, message: Prepare) -> None:
        await self._drop()
        try:
            self._prepared = await self._reloader.prepare(message.config)
        except ReloadRefused as refused:
            self._say(Prepared(message.round, refused.problems))
        else:
            self._say(Prepared(message.round))

    async def _drop(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await self._reloader.drop(prepared)

    def _say(self, message: ToSupervisor) -> None:
        if self._writer is None:
            self._unsaid.append(message)  # the operator's listener may answer before the link is open
        elif not self._writer.is_closing():
            self._writer.write(framed(message))
