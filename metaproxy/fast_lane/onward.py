"""Sends reads on that memory has no answer to and that every check lets pass, if a connection is idle.

None in place of a Passing means that the line must answer. Nothing has been charged then.
"""

from collections.abc import Sequence

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.check import Prepared, decide_again
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.fetching import Fetching
from metaproxy.fast_lane.passing import Passing
from metaproxy.fast_lane.planner import Planner
from metaproxy.fast_lane.writing import Writer
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.trace import Trace
from metaproxy.forward.call import Lease
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.errors import TransportError
from metaproxy.forward.proxy import Forward
from metaproxy.verdicts import PASS, Settled, Wait


class Onward:
    """The way behind the cache, for reads that take no task.

    Args:
        trace, cache: the stages of that name.
        forward: sends them; None if something else answers.
        planner: plans for those that may come again.
        writer: writes their answers.
    """

    def __init__(
        self,
        trace: Trace,
        cache: MetadataCache | NoCache,
        forward: Forward | None,
        planner: Planner,
        writer: Writer,
    ) -> None:
        self._trace = trace
        self._writer = writer
        self._cache = cache
        self._forward = forward
        self._planner = planner

    def send(
        self, exchange: Exchange, scope: Scope, request: CacheRequest | None, octets: bytes
    ) -> Passing | None:
        """Send a read on that every check lets pass. ``request`` is what it asked of the cache in vain."""
        lease = self._lease_for(request, scope)
        if lease is None:
            return None
        try:
            message = lease.message(exchange, scope)
        except TransportError:
            lease.give_back()
            return None
        if octets and lease.can_be_repeated:
            self._planner.plan_section(octets, exchange, scope, message)
        return self._begin(lease, message, exchange, scope, request)

    def send_again(
        self,
        message: OutgoingRequest,
        decisions: Sequence[Prepared],
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest | None = None,
    ) -> Passing | Settled | Wait | None:
        """Send a read on whose header section was sent before, or return why a decision now holds it back.

        The ``decisions`` are made one after the other, and none of them if no connection is idle.
        """
        lease = self._lease_for(request, scope)
        if lease is None:
            return None
        try:
            verdict = decide_again(decisions, exchange)
        except Exception:
            lease.give_back()
            raise
        if verdict is not PASS:
            lease.give_back()
            return verdict
        return self._begin(lease, message, exchange, scope, request)

    def request_line(self, scope: Scope) -> bytes:
        """Return the first line of a request as it is sent; raises httpx.TransportError."""
        return self._forward.request_line(scope) if self._forward is not None else b""

    def _lease_for(self, request: CacheRequest | None, scope: Scope) -> Lease | None:
        """Return an idle connection, if a read may be sent that asked ``request`` of the cache."""
        if self._forward is None or (request is not None and not self._cache.may_lead(request, scope)):
            return None
        return self._forward.lease()

    def _begin(
        self,
        lease: Lease,
        message: OutgoingRequest,
        exchange: Exchange,
        scope: Scope,
        request: CacheRequest | None,
    ) -> Passing | None:
        """Send ``message``. If ``request`` was asked of the cache, the answer is for the cache as well."""
        if request is None:
            self._cache.note_bypass(exchange)
            passing = Passing(self._trace, self._writer, exchange, scope)
            passing.call = lease.send(message, exchange, scope, passing)
            return passing
        led = self._cache.lead(exchange, scope, request)
        if led is None:
            lease.give_back()
            return None
        fetching = Fetching(self._trace, self._writer, exchange, scope, led)
        fetching.call = lease.send(message, led.exchange, led.scope, fetching)
        return fetching
