"""A connection's side of a request that is passed on without a task.

Stands where uvicorn keeps the cycle of the request that is being answered, and has what uvicorn, and this
package, look at there.
"""

from typing import Any, Protocol

from starlette.types import ASGIApp

from metaproxy.fast_lane.passing import Passing


class Connected(Protocol):
    """The connection, as far as it is needed here."""

    def write_passed(self, waiting: "WaitingCycle", answer: bytes) -> None:
        """Write the whole answer of a request."""

    def take_over(self, waiting: "WaitingCycle", app: ASGIApp) -> None:
        """Let ``app`` answer a request, in a task."""


class WaitingCycle:
    """Waits for the answer to one request."""

    response_started = False
    response_complete = False
    disconnected = False
    more_body = True
    keep_alive = True
    waiting_for_100_continue = False

    def __init__(self, connection: Connected, passing: Passing) -> None:
        self._connection = connection
        self._passing: Passing | None = passing
        self.scope = passing.scope
        passing.waiting = self

    @property
    def message_event(self) -> Any:
        """What uvicorn sets when something has come from the client, or the client has left."""
        return self

    def set(self) -> None:
        """Something has come. A body was not announced, so only the client's leaving matters."""
        if self.disconnected and self._passing is not None:
            passing, self._passing = self._passing, None
            passing.client_left()

    def complete(self, answer: bytes) -> None:
        """Write the whole answer."""
        self.response_started = self.response_complete = True
        self._passing = None
        self._connection.write_passed(self, answer)

    def take_the_line(self, app: ASGIApp) -> None:
        """Let ``app`` answer, in a task."""
        self._passing = None
        self._connection.take_over(self, app)
