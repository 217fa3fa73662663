"""Storing the parts that pass, and completing them.

A request for a range that memory cannot answer is passed on as it is. Its 206 is stored beside, if it may be:
one range, with a strong entity tag, of a whole that is not too large. So is the whole, with which an origin
answers that ignores ranges. Parts of one tag are combined.
Once all are there, they are a whole stored answer. A request for the whole asks for what is missing, if the
content still has the tag (If-Range). Whatever else comes is taken for what it is.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metaproxy.cache.admission import Admitted
from metaproxy.cache.deliveries import NoBody, Read
from metaproxy.cache.incomplete import Incomplete
from metaproxy.cache.storage import Storage
from metaproxy.exchange import ClientDisconnected
from metaproxy.protocol import headers
from metaproxy.protocol.caching import parts, ranges
from metaproxy.protocol.caching.freshness import Times
from metaproxy.protocol.caching.superseding import contradicts

MAX_SEGMENTS = 64
"""So many pieces of one answer are kept apart; with one more, the older ones go."""

RANGE_FIELDS = frozenset({b"range", b"if-range"})


async def pass_on(
    storage: Storage, app: ASGIApp, read: Read, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let ``app`` answer a request for a range, and store the part that it sends."""
    passing = _Passing(storage, read, send)
    storage.flights.watch(passing)
    try:
        await app(scope, receive, passing.send)
    finally:
        storage.flights.unwatch(passing)


class _Passing:
    """The answer to a request for a range, on its way to a client."""

    def __init__(self, storage: Storage, read: Read, send: Send) -> None:
        self.tags = read.asked.tags
        self.asked_at = storage.monotonic()
        self.doomed = storage.is_overtaken(self.tags, self.asked_at)
        self._storage = storage
        self._read = read
        self._send = send
        self._requested = storage.wall()
        self._received = 0.0
        self._part: ranges.Part | None = None
        self._admitted: Admitted | None = None
        self._chunks: list[bytes] = []
        self._missing = 0
        self._ends_anywhere = False

    async def send(self, message: Message) -> None:
        """Pass ``message`` on; what is stored of the answer is stored before its end is sent."""
        if message["type"] == "http.response.start":
            self._on_head(message["status"], message["headers"])
        elif message["type"] == "http.response.body" and self._admitted is not None:
            self._on_body(message.get("body", b""), is_last=not message.get("more_body", False))
        await self._send(message)

    def _on_head(self, status: int, fields: headers.Headers) -> None:
        self._received = self._storage.monotonic()
        self._part = part = self._asked_part(fields) if status == 206 else None
        if part is not None:
            self._admitted, self._missing = self._judged_part(fields), part.size
        elif status == 200 and not parts.has_many_ranges(fields):
            self._judge_whole(fields)
        held = self._read.parts
        if held is not None and contradicts(
            status, fields, stored=held.head.fields, stored_length=held.length, is_to_head=False
        ):
            self._withdraw()

    def _judge_whole(self, fields: headers.Headers) -> None:
        """Admit the whole, with which an origin may answer that ignores ranges."""
        admitted = self._judged(fields)
        if admitted is None:
            return
        room = self._storage.store.max_entry_bytes
        self._ends_anywhere = admitted.content_length is None
        self._missing = room if admitted.content_length is None else admitted.content_length
        self._admitted = admitted if self._missing <= room else None

    def _asked_part(self, fields: headers.Headers) -> ranges.Part | None:
        """Return the part that came, if it lies within the range and the whole may be stored."""
        part = parts.part_of(fields)
        if part is None or part.length > self._storage.store.max_entry_bytes:
            return None
        asked = ranges.select(self._read.request.range or b"", part.length)
        fits = isinstance(asked, ranges.Part) and asked.first <= part.first and part.last <= asked.last
        return part if fits else None

    def _judged_part(self, fields: headers.Headers) -> Admitted | None:
        """Return what may be stored of a part, judged as the whole; None if nothing."""
        held = self._held(fields)
        if parts.strong_tag(fields) is None or (held is None and b"if-range" in self._read.request.fields):
            return None  # an answer to If-Range may lack what its client has
        whole = parts.of_the_whole(fields, held.head.fields if held is not None else ())
        admitted = self._judged(whole)
        return admitted if admitted is not None and parts.strong_tag(admitted.fields) is not None else None

    def _judged(self, fields: headers.Headers) -> Admitted | None:
        """Return what may be stored of a 200 with these fields; None if nothing."""
        times = Times(self._requested, self._storage.wall())
        admitted = self._storage.admission.judge(self._read.asked, self._read.route, 200, fields, times)
        if not isinstance(admitted, Admitted):
            return None
        return admitted if RANGE_FIELDS.isdisjoint([name for name, _ in admitted.vary]) else None

    def _held(self, fields: headers.Headers) -> Incomplete | None:
        """Return the stored parts with which the answer can be combined."""
        held = self._storage.store.part(self._read.request.key, self._read.request.fields)
        is_of_one = held is not None and self._part is not None and held.length == self._part.length
        return held if held is not None and is_of_one and parts.combine(held.head.fields, fields) else None

    def _on_body(self, chunk: bytes, *, is_last: bool) -> None:
        self._missing -= len(chunk)
        if self._missing < 0 or self.doomed:
            self._admitted, self._chunks = None, []
            return
        self._chunks.append(chunk)
        if is_last and (self._ends_anywhere or not self._missing):
            self._keep(b"".join(self._chunks))

    def _keep(self, body: bytes) -> None:
        request = self._read.request
        whole = self._storage.store.select(request.key, request.fields)
        if self._admitted is None:
            return
        if self._part is None:
            if whole is None or whole.asked_at <= self.asked_at:
                self._put(self._admitted, body)
        elif whole is None:
            self._keep_part(self._admitted, self._part, body)

    def _put(self, admitted: Admitted, body: bytes) -> None:
        """Store the whole."""
        storage, request = self._storage, self._read.request
        stored = storage.admission.stored(admitted, body, self.tags, self.asked_at, self._received)
        storage.store.put(request.key, stored, request.fields)

    def _keep_part(self, admitted: Admitted, part: ranges.Part, body: bytes) -> None:
        storage, request = self._storage, self._read.request
        held = self._held(admitted.fields)
        segments = parts.merged(held.segments if held is not None else (), part.first, body)
        if len(segments) > MAX_SEGMENTS:
            segments = ((part.first, body),)
        if parts.missing(segments, part.length) is None:
            self._put(admitted, segments[0][1])
            return
        stored = storage.admission.stored(admitted, b"", self.tags, self.asked_at, self._received)
        storage.store.put_part(request.key, Incomplete.of(stored, part.length, segments), request.fields)

    def _withdraw(self) -> None:
        """Remove the stored parts: the origin has another content now."""
        read = self._read
        self._storage.withdrawals.withdraw(
            read.request.key, read.route, read.asked, self.asked_at, shared=False
        )


class Completion:
    """An ASGI application that answers with the whole, and asks ``app`` only for what is missing.

    Args:
        held: the parts that need not be fetched.
    """

    def __init__(self, app: ASGIApp, held: Incomplete) -> None:
        self._app = app
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the whole, which has no body."""
        held = self._held
        gap = parts.missing(held.segments, held.length)
        if gap is None:
            await self._app(scope, receive, send)
            return
        completing = _Completing(held, gap, send)
        lines = parts.request_for(gap, held.tag, scope["headers"])
        try:
            await self._app({**scope, "headers": lines}, NoBody(), completing.send)
        except ClientDisconnected:
            if not completing.is_useless:
                raise
        if completing.is_useless:
            await self._app(scope, NoBody(), send)


class _Completing:
    """Turns the part that is missing into the whole answer; passes on what is no part."""

    def __init__(self, held: Incomplete, gap: ranges.Part, send: Send) -> None:
        self.is_useless = False
        """True once an answer has come that is no use to a reader of the whole."""
        self._held = held
        self._gap = gap
        self._send = send
        self._ending: bytes | None = None
        self._missing = gap.size

    async def send(self, message: Message) -> None:
        """Take a message of the answer to the request for the part."""
        if self.is_useless:
            if message.get("more_body", False):
                raise ClientDisconnected
            return
        if message["type"] == "http.response.start" and message["status"] in (206, 304, 416):
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._ending is not None:
            await self._go_on(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        fields, held, gap = message["headers"], self._held, self._gap
        fits = parts.part_of(fields) == gap and parts.combine(held.head.fields, fields)
        if message["status"] != 206 or not fits:
            self.is_useless = True
            return
        whole = parts.of_the_whole(fields, held.head.fields)
        whole.append((b"content-length", b"%d" % held.length))
        beginning = parts.cut(held.segments, ranges.Part(0, gap.first - 1, held.length)) if gap.first else b""
        rest = ranges.Part(gap.last + 1, held.length - 1, held.length)
        self._ending = (parts.cut(held.segments, rest) if rest.size else b"") or b""
        await self._send({**message, "status": 200, "headers": whole})
        await self._send({"type": "http.response.body", "body": beginning or b"", "more_body": True})

    async def _go_on(self, chunk: bytes, *, is_last: bool) -> None:
        self._missing -= len(chunk)
        if is_last and not self._missing:
            chunk += self._ending or b""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": not is_last})
