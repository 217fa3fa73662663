"""The base of the demo's services: an answer is a function of a request, ``Service`` does the rest.

``Service`` counts what reaches it, and can be told to be slow or to fail, under paths of its own:

    GET    /_demo/requests     {"total": 3, "requests": {"GET /v2.1/…": 2, …}}
    DELETE /_demo/requests     count from zero
    PUT    /_demo/behaviour    {"delay_seconds": 0.5, "fail_status": 503, "requests": 2}
    DELETE /_demo/behaviour    behave again
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Receive, Scope, Send

MAX_BODY_BYTES: Final = 1 << 20
MAX_COUNTED_TARGETS: Final = 1000

HeaderPairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole. Header names are in lower case; of several lines the last one counts."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Content-Length is added where it is sent; a 204 has no Content-Type either."""

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: HeaderPairs = ()


def json_answer(status: int, document: object, headers: HeaderPairs = ()) -> Answer:
    """Return an answer that carries ``document``."""
    return Answer(status, json.dumps(document), headers=headers)


@dataclass(slots=True)
class Behaviour:
    """How the next requests are treated: ``requests`` of them, or all until told otherwise."""

    delay_seconds: float = 0.0
    fail_status: int = 0
    requests: int | None = None

    def take(self) -> tuple[float, int]:
        """Return delay and status for one request; (0.0, 0) is an ordinary one."""
        if self.requests is not None:
            if self.requests <= 0:
                return 0.0, 0
            self.requests -= 1
        return self.delay_seconds, self.fail_status


class Service:
    """An ASGI application around ``answer``."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._counts: Counter[str] = Counter()
        self._behaviour = Behaviour()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scopes are not spoken here."""
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        if request.path.startswith("/_demo/"):
            answer = self._control(request)
        else:
            answer = await self._serve(request)
        await _write(answer, send)

    async def _serve(self, request: Request) -> Answer:
        self._count(request)
        delay_seconds, fail_status = self._behaviour.take()
        await asyncio.sleep(delay_seconds)
        if fail_status:
            message = {"code": fail_status, "message": "The demo was told to fail."}
            return json_answer(fail_status, {"computeFault": message})
        return self._answer(request)

    def _count(self, request: Request) -> None:
        target = f"{request.method} {request.path}" + (f"?{request.query}" if request.query else "")
        known = target in self._counts or len(self._counts) < MAX_COUNTED_TARGETS
        self._counts[target if known else "others"] += 1

    def _control(self, request: Request) -> Answer:
        match request.method, request.path:
            case "GET", "/_demo/requests":
                return json_answer(200, {"total": self._counts.total(), "requests": self._counts})
            case "DELETE", "/_demo/requests":
                self._counts.clear()
            case "PUT", "/_demo/behaviour":
                return self._behave(request.body)
            case "DELETE", "/_demo/behaviour":
                self._behaviour = Behaviour()
            case _:
                return json_answer(404, {"message": "GET /_demo/requests, PUT /_demo/behaviour"})
        return Answer(204)

    def _behave(self, body: bytes) -> Answer:
        try:
            self._behaviour = Behaviour(**json.loads(body))
        except (TypeError, ValueError):
            return json_answer(400, {"message": f"known are {', '.join(Behaviour.__slots__)}"})
        return Answer(204)


async def _read(scope: Scope, receive: Receive) -> Request:
    body, more = b"", True
    while more and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body)


async def _write(answer: Answer, send: Send) -> None:
    body = answer.body.encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    if answer.status != 204:
        headers += [(b"content-length", b"%d" % len(body)), (b"content-type", answer.content_type.encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
