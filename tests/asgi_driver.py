"""Drives an ASGI application with a script of messages and keeps all that it sent.

``httpx.ASGITransport`` gathers whole bodies: it can show neither streaming nor a client that hangs up.
This driver hands the application exactly the messages of its script, one a call of ``receive``, and
returns every message that was sent, in order. After its script the client waits: ``receive`` blocks until
the answer is complete and then says ``http.disconnect``, as servers do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from metaproxy.exchange import SCOPE_KEY, Exchange

Message = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

DISCONNECT: Message = {"type": "http.disconnect"}


@dataclass
class Answer:
    """What an application answered, and the Exchange as the line left it."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)
    complete: bool = False
    scope: Message = field(default_factory=dict)

    @property
    def exchange(self) -> Exchange:
        """The Exchange of the request; KeyError where no stage made one."""
        exchange: Exchange = self.scope[SCOPE_KEY]
        return exchange

    def all(self, name: str) -> list[str]:
        """Every value of the header ``name``, in order."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """The only value of the header ``name``, or None; AssertionError where there are several."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    def record(self, message: Message) -> None:
        """Take one message that the application sent; AssertionError where ASGI forbids it."""
        self.messages.append(message)
        if message["type"] == "http.response.start":
            assert not self.status, "the answer started twice"
            self.status = message["status"]
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            assert self.status, "a body before the start"
            assert not self.complete, "a body after the last one"
            self.body += bytes(message.get("body", b""))
            self.complete = not message.get("more_body", False)


def request_messages(body: Iterable[bytes]) -> list[Message]:
    """Return the messages of a request whose body arrives in the chunks ``body``."""
    chunks = list(body) or [b""]
    return [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]


def make_scope(
    method: str, path: str, headers: Iterable[tuple[Any, Any]] = (), extra: Mapping[str, Any] | None = None
) -> Message:
    """Return the ASGI scope of a request for ``path``, which may carry escapes and a query string."""
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(_bytes(name).lower(), _bytes(value)) for name, value in headers],
        "client": ("192.0.2.1", 40000),
        "server": ("127.0.0.1", 8774),
        "state": {},
        **(extra or {}),
    }


async def drive(
    app: Application,
    method: str,
    path: str,
    headers: Iterable[tuple[Any, Any]] = (),
    body: Iterable[bytes] = (b"",),
    scope_extra: Mapping[str, Any] | None = None,
    *,
    messages: Sequence[Message] | None = None,
    on_send: Callable[[Message], Awaitable[None]] | None = None,
) -> Answer:
    """Send one request to ``app`` and return its answer.

    Args:
        headers: pairs of str or bytes; names are lowered, nothing is added (no Host either).
        body: the chunks of the body, one ``http.request`` message each.
        scope_extra: keys that are put into the scope, such as ``client`` or a ready-made Exchange.
        messages: the whole script for ``receive`` in place of ``body``; ``DISCONNECT`` may stand in it.
        on_send: awaited with each message before ``send`` returns: raise here to play a lost connection.
    """
    scope = make_scope(method, path, headers, scope_extra)
    script = list(request_messages(body) if messages is None else messages)
    answer = Answer(scope=scope)
    answered = asyncio.Event()

    async def receive() -> Message:
        if script:
            return script.pop(0)
        await answered.wait()
        return DISCONNECT

    async def send(message: Message) -> None:
        answer.record(message)
        if answer.complete:
            answered.set()
        if on_send is not None:
            await on_send(message)

    await app(scope, receive, send)
    return answer


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
