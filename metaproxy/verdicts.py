"""The verdict of a check about a request.

``PASS`` lets the request go on. A ``Fault`` refuses it, an ``Answer`` answers it. A ``Wait`` is for one of
these that something outside the process must give first. A verdict is returned. Never raise a Fault that is
a verdict: several requests may share it, and a raised exception keeps all that its traceback has seen alive.
"""

from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, Protocol, TypeAlias

from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import Header


class Pass(Enum):
    """The verdict that lets a request go on."""

    PASS = "pass"  # noqa: S105 - a word


PASS: Final = Pass.PASS


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer by a check itself: what the client gets in place of the origin's answer."""

    status: int
    fields: Sequence[Header]
    body: bytes = b""


class Wait:
    """A verdict that something outside the process must give first. Await it once to get it.

    A wait that is dropped has asked nobody and done nothing.

    Args:
        ask: begins to ask; its result is the verdict.
    """

    __slots__ = ("_ask", "_send")

    def __init__(
        self,
        ask: "Callable[[], Coroutine[Any, Any, Verdict]]",
        send: "Send | None" = None,
    ) -> None:
        self._ask = ask
        self._send = send

    def send(self, resume: "Resume") -> bool:
        """Ask in place of awaiting, if that takes no task; False, and nobody is asked, if it does.

        ``resume`` is called when the verdict can be told.
        """
        return self._send is not None and self._send(resume)

    def __await__(self) -> "Generator[Any, Any, Verdict]":
        """Ask, and return the verdict."""
        return self._ask().__await__()


class Resume(Protocol):
    """Goes on with a request that has waited."""

    def __call__(self, verdict_of: "Callable[..., Verdict]", *args: Any) -> None:
        """Go on with the verdict that ``verdict_of`` returns for ``args``, or with what it raises."""


Send: TypeAlias = Callable[[Resume], bool]

Settled: TypeAlias = Literal[Pass.PASS] | Fault | Answer
"""A verdict for which nothing must be awaited."""

Verdict: TypeAlias = Settled | Wait
