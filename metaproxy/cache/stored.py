"""A stored answer, and what is sent of it.

Everything that is the same for every hit is made once: the header list, the serialised head, the
entity tag. Fields that change with time (Age, Cache-Status) change once a second, so a busy answer's hit is
made once a second and handed out as it is in between.

Answers of one API differ in their bodies and hardly in their heads, so a field that many of them have is
kept once. Its first owner is charged for its bytes, the others for their references alone: what is counted
never falls behind what is held. The table of these fields is bounded, and emptied when it is full.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from metaproxy.memo import Memo
from metaproxy.protocol import headers
from metaproxy.protocol.caching import cache_status, dates, validation
from metaproxy.protocol.caching.reuse import Terms, VaryValues
from metaproxy.protocol.header_edits import HeaderEdits
from metaproxy.protocol.status_lines import STATUS_LINE

ENTRY_BYTES = 2400
"""The bytes of an entry beside its texts: objects, key, places in the indexes, the hit made of it.

Measured with tests/bench/cache_memory.py, where every entry is used; rounded up."""

MOST_FIELDS = 4096
LONGEST_FIELD = 192

FIELD_BYTES = 130
"""The bytes of a field beside its text: two bytes objects and their pair."""

FIELD_SLOTS = 24
"""The bytes of a field in every entry: its places in the lists of the entry and of its hit."""


@dataclass(slots=True, eq=False)
class Hit:
    """An answer from memory, complete but for what the first stage adds (Via, X-Compute-Request-Id).

    ``headers`` and ``head_bytes`` say the same: the stored fields with Date as stored, Content-Length,
    Age and Cache-Status. ``head_bytes`` is the status line and these fields as HTTP/1.1 writes them,
    without the empty line at the end, so that more fields can follow. Both are shared between
    requests: never change them.
    """

    status: int
    headers: list[headers.Header]
    body: bytes
    age: int
    cache_status: str
    outcome: str
    """``hit`` or ``stale``."""
    head_bytes: bytes
    revalidate: bool = False
    """True if the answer is stale and must be validated in the background, which takes the whole stage."""
    edited: tuple[HeaderEdits, bytes] | None = None
    """The head as the edits of the last answer left it, so that it need not be edited each time."""

    def head_with(self, told: bytes, edits: HeaderEdits | None) -> bytes:
        """Return the head with the header lines ``told`` at its end, after ``edits``."""
        if edits is None:
            return self.head_bytes + told
        if self.edited is None or self.edited[0] is not edits:
            self.edited = edits, edits.kept_lines(self.head_bytes)
        return self.edited[1] + edits.apply_to_lines(told)

    def told_as(self, outcome: str, status: str) -> "Hit":
        """Return the same answer for a request that went forward: ``status`` is its Cache-Status."""
        told = (b"cache-status", status.encode("ascii"))
        fields = [told if field[0] == b"cache-status" else field for field in self.headers]
        return Hit(
            self.status, fields, self.body, self.age, status, outcome, serialised_head(self.status, fields)
        )


@dataclass(slots=True, eq=False, kw_only=True)
class Stored:
    """One stored answer to GET.

    ``fields`` are the origin's, without those that are not stored. ``born`` is the monotonic time at
    which the answer's age was 0, ``asked_at`` that at which the origin was asked for it.
    """

    status: int
    fields: tuple[headers.Header, ...]
    body: bytes
    terms: Terms
    born: float
    asked_at: float
    vary: VaryValues = ()
    tags: tuple[str, ...] = ()
    """The tags to purge it by: ``image:…``, ``tenant:…``, ``path:…``."""
    shown_status: int = 0
    """The status of hits: the answer's own, or 203 where the operator wants hits told apart."""
    detail: str = ""
    """The detail of Cache-Status: ``collection`` for an item taken from a stored collection."""
    items: Mapping[str, str] | None = None
    """Of a collection whose items were asked for: what is in it."""
    withdrawn: bool = field(init=False, default=False)
    """True if it was purged or contradicted: a read that still holds on to it must not fall back on it."""
    size: int = field(init=False)
    """The bytes of memory that it takes, estimated from above."""
    etag: bytes = field(init=False)
    fresh_until: float = field(init=False)
    """Monotonic seconds until which it may be sent to anyone who asks for nothing special."""
    _sent: list[headers.Header] = field(init=False)
    latest: Hit | None = field(init=False, default=None)
    """The whole answer as it was sent last; the same for a second."""

    def __post_init__(self) -> None:
        size = ENTRY_BYTES + len(self.body) + (4 + FIELD_SLOTS) * len(self.fields)
        for tag in self.tags:
            size += len(tag)
        sent, own = [], None
        for pair in self.fields:
            name, value = pair
            octets = len(name) + len(value)
            size += octets
            known = _fields.get(pair)
            if known is None:
                known = _fields.keep(pair, pair, octets)
                size += octets + FIELD_BYTES
            sent.append(known)
            if own is None and name == b"etag":
                own = value
        self.fields, self.size, self._sent = tuple(sent), size, sent
        if own:
            self.etag = own
        else:
            self.etag = validation.strong_etag(self.body, headers.get(sent, b"content-type") or b"")
            sent.append((b"etag", self.etag))
        self.shown_status = self.shown_status or self.status
        self.fresh_until = -1.0 if self.terms.always_validate else self.born + self.terms.lifetime

    def age(self, now: float) -> float:
        """Return its age in seconds at the monotonic time ``now``."""
        return now - self.born

    def hit(self, now: float, cache: str) -> Hit:
        """Return the answer as it is sent at ``now``; ``cache`` is our name in Cache-Status."""
        age = int(now - self.born)
        hit = self.latest
        if hit is None or hit.age != age:
            hit = self.latest = self.answer(now, cache, self.shown_status, self._sent, self.body)
        return hit

    def answer(
        self,
        now: float,
        cache: str,
        status: int,
        fields: list[headers.Header],
        body: bytes,
        *,
        length: int | None = None,
    ) -> Hit:
        """Return an answer made of this one: the whole, a part, or the news that nothing changed.

        ``length`` is what Content-Length says where that is not the length of ``body``; -1 for none.
        """
        age = int(self.age(now))
        # The fields are the same for a second, as Age is.
        told = cache_status.hit(cache, self.terms.lifetime - age, self.detail)
        complete = [*fields, (b"age", b"%d" % max(age, 0)), (b"cache-status", told.encode("ascii"))]
        if length != -1:
            complete.append((b"content-length", b"%d" % (len(body) if length is None else length)))
        outcome = "hit" if self.age(now) < self.terms.lifetime else "stale"
        return Hit(status, complete, body, age, told, outcome, serialised_head(status, complete))

    @property
    def sent_fields(self) -> list[headers.Header]:
        """The fields of a hit, before Age, Cache-Status and Content-Length."""
        return self._sent

    @property
    def last_modified(self) -> float | None:
        """Last-Modified in seconds since the epoch, or Date where there is none (RFC 9110 §13.1.3)."""
        value = headers.get(self.fields, b"last-modified") or headers.get(self.fields, b"date")
        return dates.parse(value) if value else None


def serialised_head(status: int, fields: list[headers.Header]) -> bytes:
    """Return a head as HTTP/1.1 writes it (RFC 9112 §2.1), without the empty line at its end."""
    return STATUS_LINE[status] + headers.lines(fields)


_fields: Memo[headers.Header, headers.Header] = Memo(MOST_FIELDS, LONGEST_FIELD)

"""Fields that many answers have, each as the one object that they share."""
