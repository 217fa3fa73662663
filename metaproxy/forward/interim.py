"""Sending interim responses to the client while the final response is awaited."""

from collections import deque
from contextlib import suppress

from starlette.types import Message, Send

from metaproxy.exchange import ClientDisconnected
from metaproxy.tasks import TaskSet


class InterimResponses:
    """Sends the interim responses of one request, in their order.

    The connection to the upstream delivers them in a callback, and ``send`` is a coroutine, so a task sends
    them. Most requests have none, and then this object is not made. The parser bounds their number and size.
    Without ``send``, they wait for ``send_to``.
    """

    def __init__(self, send: Send | None = None) -> None:
        self._send = send
        self._waiting: deque[Message] = deque()
        self._tasks = TaskSet()

    def add(self, message: Message) -> None:
        """Send ``message`` after those before it."""
        self._waiting.append(message)
        if self._send is not None:
            self.send_to(self._send)

    def send_to(self, send: Send) -> None:
        """Send what waits and what will come with ``send``."""
        self._send = send
        if not self._tasks:
            self._tasks.start(self._send_all(send), name="interim responses")

    async def sent(self) -> None:
        """Wait until every message is sent. The final response must not overtake one."""
        await self._tasks.join()

    async def aclose(self) -> None:
        """Drop the messages that are not sent yet."""
        self._waiting.clear()
        await self._tasks.cancel()

    async def _send_all(self, send: Send) -> None:
        # The client may have left. The task that waits for the final response handles that.
        with suppress(ClientDisconnected, OSError):
            while self._waiting:
                await send(self._waiting.popleft())
