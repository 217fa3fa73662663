"""The store that replicas share, and what each of its uses may expect of it.

One rule rules this file: a slow or dead store costs a request at most the timeout, once; from then on
it costs nothing until it is back (``availability``).

    a command finds no server, or gets no reply in time    the whole store is lost, for every use
    the server replies with an error                       this use is lost; the others go on

Either way every connection is closed, and what was lost is restored when the very command that failed works
again on a new one: a server may answer PING and refuse every write (READONLY, OOM, NOPERM).
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, RedisError, ResponseError

from metaproxy import clock
from metaproxy.clock import Clock
from metaproxy.store.availability import Availability, Listener
from metaproxy.store.causes import cause_of
from metaproxy.store.redis.connections import Command, Connections
from metaproxy.store.redis.pipe import HAS_HIREDIS, Part, Receive
from metaproxy.store.unavailable import StoreUnavailable

T = TypeVar("T")

START_SECONDS = 2.0
"""How long a start waits for the store."""

Again = Callable[[], Awaitable[object]]


class SharedStore:
    """One Redis (or Valkey) that several processes share.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it, or that of sentinels.
        timeout_seconds: how long one call may take, connecting included.
        prefix: what every key and channel of ours begins with.
        max_connections: how many calls may have a connection of their own at once; further calls wait.
        monotonic: the clock that deadlines are measured with.
        one_pipe: send the commands of all requests over one connection; otherwise each takes one of the pool,
            which is slower and needs no hiredis.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 0.05,
        prefix: str = "metaproxy:",
        max_connections: int = 32,
        monotonic: Clock = clock.monotonic,
        one_pipe: bool = HAS_HIREDIS,
    ) -> None:
        self.prefix = prefix
        self.timeout_seconds = timeout_seconds
        self.connections = Connections(
            url,
            timeout_seconds=timeout_seconds,
            max_connections=max_connections,
            monotonic=monotonic,
            one_pipe=one_pipe,
        )
        self.reach = Availability("connection", monotonic=monotonic)
        """True if the server can be reached at all."""
        self._monotonic = monotonic
        self._uses: dict[str, StoreUse] = {}
        self._start = self.use("start")

    @property
    def available(self) -> bool:
        """False from the first failure, of a request or in the background, until what failed works again."""
        return not self.troubles

    @property
    def troubles(self) -> list[str]:
        """Why the store is away, or which uses it refuses, in words; empty if all is well."""
        if not self.reach.available:
            return [f"away ({self.reach.trouble})" if self.reach.trouble else "away"]
        return [trouble for use in self._uses.values() for trouble in use.troubles]

    def use(self, name: str, *, timeout_seconds: float | None = None) -> "StoreUse":
        """Return the use of the store that is called ``name`` in the log, with its own timeout if need be."""
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_seconds
        return self._uses.setdefault(
            name, StoreUse(self, name, timeout_seconds=seconds, monotonic=self._monotonic)
        )

    def key(self, *parts: str) -> str:
        """Return the name of a key or channel of ours: the prefix, then ``parts`` joined by colons."""
        return self.prefix + ":".join(parts)

    def on_lost(self, listener: Listener) -> None:
        """Call ``listener`` each time the server can be reached no longer."""
        self.reach.on_lost(listener)

    def on_restored(self, listener: Listener) -> None:
        """Call ``listener`` each time the server can be reached again after it was lost."""
        self.reach.on_restored(listener)

    async def start(self) -> None:
        """Ask once, so that a store that is away at start does not cost the first request."""
        self.connections.start()
        try:
            await self._start.warm(max(self.timeout_seconds, START_SECONDS))
        except StoreUnavailable:
            return

    async def close(self) -> None:
        """Stop probing and close every connection; from now on the store is away."""
        await self.reach.close()
        for use in self._uses.values():
            await use.refusal.close()
        await self.connections.close()


class StoreUse:
    """One thing that the store is used for: counters, entries, messages.

    ``refusal`` knows whether the server refuses it. The argument ``again`` of its methods tries once more
    what failed, as near to it as is harmless: it must not charge, send or remove anything that counts. By
    default it is the command itself.
    """

    def __init__(self, store: SharedStore, name: str, *, timeout_seconds: float, monotonic: Clock) -> None:
        self.name = name
        self.refusal = Availability(name, monotonic=monotonic)
        self._reach = store.reach
        self._connections = store.connections
        self._seconds = timeout_seconds
        self._failing: dict[str, str] = {}

    @property
    def available(self) -> bool:
        """False from a failure until what failed works again."""
        return self._reach.available and self.refusal.available

    @property
    def troubles(self) -> list[str]:
        """The refused and failing parts of this use; empty if all is well."""
        refused = [] if self.refusal.available else [f"refuses {self.name} ({self.refusal.trouble})"]
        return refused + [f"{work} ({cause})" for work, cause in self._failing.items()]

    def note(self, work: str, error: BaseException | None) -> None:
        """Count ``work`` as failing with ``error``, or as working again if it is None.

        For work in the background, which goes on trying by itself and so uses ``attempt``: no request fails,
        and ``refusal`` does not know of it. ``work`` says what fails, as a sentence without a full stop.
        """
        if error is None:
            self._failing.pop(work, None)
            return
        reason, detail = cause_of(_told(error))
        self._failing[work] = f"{reason}: {detail}" if detail else reason

    async def call(self, command: Command[T], again: Command[object] | None = None) -> T:
        """Return what ``command`` returns, given the client; raises StoreUnavailable."""
        with self._failures(partial(self.attempt, again or command)):
            return await self._connections.pooled(command, self._seconds, self._is_available)

    async def insist(self, command: Command[T], again: Command[object] | None = None) -> T:
        """Do as ``call`` does, also if this use is refused, and once more if it is refused now.

        For what must not be left out: the server may take this command and refuse others, and the connection
        may have led to a server that is the primary no longer.
        """
        if self.available:
            try:
                return await self.call(command, again)
            except StoreUnavailable:
                pass
        if not self._reach.available:
            raise StoreUnavailable("the shared store is away")
        return await self.attempt(command)

    async def ask(self, *command: Part, again: Again | None = None) -> Any:
        """Return the reply to one command, as Redis gives it; raises StoreUnavailable.

        The cheap way for what every request asks: all such commands share one connection and none has a
        task or timer of its own.
        """
        if not self.available:
            raise StoreUnavailable("the shared store is away")
        try:
            pipe = self._connections.open_pipe
            if pipe is not None:  # one coroutine less for each request
                return await pipe.ask(*command)
            return await self._connections.ask(command, self._is_available)
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            self._fail(error, again or partial(self.attempt_to_ask, *command), closes_pipe=True)
            raise StoreUnavailable("the shared store failed") from error

    def send(self, question: bytes, receive: Receive) -> bool:
        """Send one command that is packed; False, and nothing is sent, if that takes a task.

        ``receive`` is called with what ``reply`` reads.
        """
        pipe = self._connections.open_pipe if self.available else None
        if pipe is None:
            return False
        pipe.send(question, receive)
        return True

    def reply(self, reply: Any, again: Again) -> Any:
        """Return ``reply`` unless it is an error; raises StoreUnavailable, or NoScriptError."""
        if not isinstance(reply, Exception):
            return reply
        if isinstance(reply, NoScriptError):
            raise reply
        self._fail(reply, again, closes_pipe=True)
        raise StoreUnavailable("the shared store failed") from reply

    async def attempt(self, command: Command[T]) -> T:
        """Do as ``call`` does, whether the store is away or not, and change nothing about that."""
        try:
            return await self._connections.pooled(command, self._seconds, _always)
        except (RedisError, OSError) as error:
            await self._connections.drop_idle()
            raise StoreUnavailable("the shared store failed") from error

    async def attempt_to_ask(self, *command: Part) -> Any:
        """Do as ``ask`` does, whether the store is away or not, and change nothing about that."""
        try:
            return await self._connections.ask(command, _always)
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            self._connections.close_pipe(error)
            raise StoreUnavailable("the shared store failed") from error

    async def warm(self, seconds: float) -> None:
        """Connect within ``seconds``, without any request waiting for it; raises StoreUnavailable."""
        with self._failures(self._connections.warm):
            await self._connections.warm(seconds)

    def _is_available(self) -> bool:
        return self.available

    @contextmanager
    def _failures(self, again: Again) -> Iterator[None]:
        """Translate what redis-py raises, and take note of it; raise at once while the store is away.

        NoScriptError passes through: the store is well, it has only forgotten a script.
        """
        if not self.available:
            raise StoreUnavailable("the shared store is away")
        try:
            yield
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            self._fail(error, again, closes_pipe=False)
            raise StoreUnavailable("the shared store failed") from error

    def _fail(self, error: Exception, again: Again, *, closes_pipe: bool) -> None:
        refused = isinstance(error, ResponseError)
        lost = self.refusal if refused else self._reach
        if not lost.available:
            return
        self._connections.renew_pool()
        if closes_pipe or not refused:
            self._connections.close_pipe(error)
        lost.lose(error, partial(self._works, lost, again))

    async def _works(self, lost: Availability, again: Again) -> bool:
        try:
            await self._connections.warm()
            await again()
        except (StoreUnavailable, RedisError, OSError) as error:
            if lost is self._reach:  # a use is refused for the reason of its own command
                lost.note(_told(error))
            return False
        return True


def _told(error: BaseException) -> BaseException:
    """Return the error behind a StoreUnavailable."""
    return error.__cause__ if isinstance(error, StoreUnavailable) and error.__cause__ else error


def _always() -> bool:
    return True
