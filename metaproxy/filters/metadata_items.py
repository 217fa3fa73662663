"""Absolute limits: how many items of image metadata an answer may return and a write may hold."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.asgi import Stage
from metaproxy.exchange import ClientDisconnected, Exchange
from metaproxy.filters.refusals import refusals
from metaproxy.protocol.compute_api import BARE_TENANT, PREFIXES, resource_path
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.limits.metadata import Uncountable, exceeds, most_bytes
from metaproxy.protocol.names import has_bare_tenant
from metaproxy.protocol.routes import RouteTable, segments_of
from metaproxy.telemetry.metrics import Metrics

COLLECTION = "/images/{image_id}/metadata"

HIDING = frozenset({b"accept-encoding", b"if-range", b"range"})
"""Fields for which an answer comes that could not be counted: compressed, or a part of it."""


class MetadataItemLimit(Stage):
    """Lets metadata collections through that hold few enough items; answers 413 to others.

    A write that cannot be counted is answered 400, an answer that cannot be counted 502. Neither is passed
    on, because another reader could find any number of items in it.

    An answer to GET is gathered before its head is sent on, at most as many bytes as the allowed items
    can take. A PUT replaces the collection, so its items are what the image will hold. A POST merges:
    what it alone holds is limited here; what the image holds afterwards, only the upstream knows.
    Requests for single items, and all other paths, pass untouched.

    Args:
        returned: the most items of an answer; None is any number.
        held: the most items of a PUT or POST; None is any number.
    """

    concerns_kinds = True
    """True because ``concerns`` says the same of every path of a kind (``compute_api.kind_of_path``)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        returned: int | None = None,
        held: int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.app = app
        self._returned = returned
        self._held = held
        self._refusals = refusals(metrics)
        self._collections: RouteTable[None] = RouteTable()
        for prefix in PREFIXES:
            self._collections.add(prefix + COLLECTION, None)
        self._bare_collections: RouteTable[None] = RouteTable()
        self._bare_collections.add(BARE_TENANT + COLLECTION, None)

    def concerns(self, method: str, path: str) -> bool:
        """Say whether this is a request for a metadata collection whose items are counted."""
        return self._limit(method) is not None and self._is_collection(path)

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the items of a collection on its way; pass on everything else."""
        if not self.concerns(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
        elif scope["method"] == "GET":
            await self._hold_answer(scope, receive, send)
        else:
            await self._hold_write(scope, receive, send)

    def _limit(self, method: str) -> int | None:
        if method == "GET":
            return self._returned
        return self._held if method in ("PUT", "POST") else None

    def _is_collection(self, path: str) -> bool:
        # Not by the route of the Exchange: an operator's own template may stand there.
        resource = resource_path(path)
        if self._collections.has(resource):
            return True
        return self._bare_collections.has(resource) and has_bare_tenant(segments_of(resource))

    async def _hold_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = [header for header in scope["headers"] if header[0] not in HIDING]
        answer = _HeldAnswer(send, self._returned or 0, self._refused)
        await self.app({**scope, "headers": fields}, receive, answer.send)

    async def _hold_write(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._held or 0
        body = await _read(receive, most_bytes(limit))
        try:
            is_too_much = body is None or exceeds(limit, body, scope["headers"])
        except Uncountable as error:
            self._refusals.add(("image_metadata_items",))
            raise Fault(
                400, f"The metadata items cannot be counted: {error}.", reason="metadata_uncountable"
            ) from error
        if body is None or is_too_much:
            self._refusals.add(("image_metadata_items",))
            raise Fault(
                413,
                f"The number of metadata items is above the allowed limit of {limit}.",
                reason="metadata_items_exceeded",
                close=body is None,
            )
        await self.app(scope, _replayed(body, receive), send)

    def _refused(self, uncountable: Uncountable | None) -> Fault:
        self._refusals.add(("items_returned",))
        if uncountable is not None:
            return Fault(
                502,
                "The items of the compute API's answer cannot be counted.",
                reason="items_uncountable",
            )
        return Fault(
            413,
            "The number of items returned is above the allowed limit.",
            reason="items_exceeded",
        )


class _HeldAnswer:
    """Holds a successful answer back until its items are counted."""

    def __init__(self, send: Send, limit: int, refuse: Callable[[Uncountable | None], Fault]) -> None:
        self._send = send
        self._limit = limit
        self._refuse = refuse
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and 200 <= message["status"] < 300:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            await self._gather(self._start, message)

    async def _gather(self, start: Message, message: Message) -> None:
        self._body += message.get("body", b"")
        if len(self._body) > most_bytes(self._limit):
            raise self._refuse(None)
        if message.get("more_body", False):
            return
        body = bytes(self._body)
        try:
            is_too_much = exceeds(self._limit, body, start.get("headers", ()))
        except Uncountable as error:
            raise self._refuse(error) from error
        if is_too_much:
            raise self._refuse(None)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, max_bytes: int) -> bytes | None:
    """The whole request body, or None where it has more than ``max_bytes``."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that says ``body`` first, then what the server says."""
    said = False

    async def replay() -> Message:
        nonlocal said
        if said:
            return await receive()
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
