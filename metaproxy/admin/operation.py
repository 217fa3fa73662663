"""The operations of the admin interface, each declared once: the route and its documentation come from it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

BODY_BYTES = 64 * 1024

NOTHING_ASKED: Any = None


class Refusal(Exception):
    """An operation cannot be carried out: the status, a sentence, and what is wrong in detail."""

    def __init__(self, status: int, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problem = Problem(message, list(problems))


class Problem(msgspec.Struct, omit_defaults=True):
    """Why an operation was refused."""

    error: str
    problems: list[str] = []


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Args:
        method: GET reads; POST changes something.
        path: where it stands.
        summary: what it does, in a sentence.
        asked: the struct of the query (GET) or the JSON body (POST); None where nothing is asked.
        answered: the struct of the answer, or another type that msgspec can write.
        carry_out: given what is asked, returns what is answered; raises Refusal.
    """

    method: Literal["GET", "POST"]
    path: str
    summary: str
    answered: Any
    carry_out: Callable[[Any], Awaitable[Any]]
    asked: type[msgspec.Struct] | None = None

    def route(self) -> Route:
        """Return the route that carries it out."""

        async def endpoint(request: Request) -> Response:
            try:
                return _json(await self.carry_out(await self._read(request)))
            except Refusal as refusal:
                return _json(refusal.problem, refusal.status)

        return Route(self.path, endpoint, methods=[self.method])

    async def _read(self, request: Request) -> Any:
        if self.asked is None:
            return NOTHING_ASKED
        try:
            if self.method == "GET":
                return msgspec.convert(dict(request.query_params), self.asked, strict=False)
            return msgspec.json.decode(await _body(request), type=self.asked)
        except msgspec.MsgspecError as error:
            raise Refusal(400, f"what is asked cannot be read: {error}") from error


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES:
                raise Refusal(413, f"the body is larger than {BODY_BYTES} bytes")
    except ClientDisconnect as error:
        raise Refusal(400, "the body broke off") from error
    return body


def _json(answer: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(answer),
        status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )
