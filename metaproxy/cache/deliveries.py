"""Deliveries: a read gets a share in the answer of a flight, or an answer from memory."""

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Send

from metaproxy.cache.admission import Asked
from metaproxy.cache.flights import Flight
from metaproxy.cache.incomplete import Incomplete
from metaproxy.cache.requests import CacheRequest
from metaproxy.cache.settings import CacheRoute
from metaproxy.cache.stored import Hit, Stored
from metaproxy.exchange import Exchange
from metaproxy.protocol.caching import cache_status, reuse


@dataclass(slots=True, eq=False, kw_only=True)
class Read:
    """A read that goes forward."""

    request: CacheRequest
    route: CacheRoute
    asked: Asked
    reason: str
    """RFC 9211's word for why it goes forward."""
    stale: Stored | None
    """The stored answer to validate or to fall back on."""
    trusted: bool
    """True if ``stale`` may be sent without asking, provided that stale answers may."""
    parts: Incomplete | None = None
    """The parts that memory has where it has no whole answer."""

    @property
    def wants_news(self) -> bool:
        """True if the request itself asks for the origin's answer: that of other replicas will not do."""
        return self.reason == cache_status.REQUEST


@dataclass(slots=True, eq=False)
class Delivery:
    """One reader's share in a flight."""

    exchange: Exchange
    send: Send
    read: Read
    flight: Flight
    begun: float
    """The monotonic time from which on the read waits for the flight."""
    leads: bool
    """True if the flight was started for this read."""

    @property
    def outcome(self) -> str:
        """How the read ends, in the word that the log has for it."""
        return "forwarded" if self.leads else "collapsed"

    def note_wait(self, now: float) -> None:
        """Note the whole wait of a read, until ``now``: it has left, or another has led the flight."""
        self.exchange.upstream = target = self.flight.exchange.upstream
        self.exchange.waited("upstream" if target else "store", now - self.begun, self.begun)

    def take_over_exchange(self, now: float) -> None:
        """Let the request's Exchange know what the flight's learned upstream until ``now``."""
        if not self.leads:
            self.note_wait(now)
            return
        flown = self.flight.exchange
        self.exchange.upstream = flown.upstream
        self.exchange.upstream_request_id = flown.upstream_request_id
        self.exchange.upstream_version = flown.upstream_version
        self.exchange.response_headers += flown.response_headers
        flown.response_headers = []
        for stage, seconds in flown.waits.items():
            self.exchange.waited(stage, seconds, flown.waits_begun[stage])


def may_replace_error(read: Read, now: float) -> bool:
    """Return True if the stale answer may be sent because the origin fails (RFC 5861 §4)."""
    stale = read.stale
    if stale is None or stale.withdrawn or not read.trusted:
        return False
    return reuse.usable_on_error(stale.terms, stale.age(now), read.asked.directives)


async def send_hit(hit: Hit, exchange: Exchange, send: Send) -> None:
    """Send an answer from memory, and note on the Exchange that it was one."""
    exchange.outcome = hit.outcome
    exchange.cache_status = hit.cache_status
    await send({"type": "http.response.start", "status": hit.status, "headers": hit.headers})
    await send({"type": "http.response.body", "body": hit.body, "more_body": False})


def note_pass(exchange: Exchange, status: str) -> None:
    """Note on the Exchange that the request passes the cache; ``status`` is its Cache-Status."""
    exchange.cache_status = status
    exchange.response_headers.append((b"cache-status", status.encode("ascii")))


async def unsent(message: Message) -> None:
    """Stands for the ``send`` of a read that no task serves."""


class NoBody:
    """The ``receive`` of a flight: no body, and a client that never hangs up."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(self) -> Message:
        """Return the end of the body, then nothing ever again."""
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        forever: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await forever
