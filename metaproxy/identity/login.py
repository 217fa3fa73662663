"""The token under which the proxy itself speaks to identity.

It is fetched when first needed, renewed in the background before it expires, and fetched anew when
identity no longer takes it. A login that was refused is not tried again for a while: identity may
lock an account that fails too often.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from metaproxy.clock import Clock, monotonic
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.identity.wire import Answered, IdentityWire
from metaproxy.tasks import TaskSet

RENEW_BEFORE = 120.0
"""Seconds before its expiry at which a service token is renewed; a tenth of its life if that is less."""
LOGIN_REFUSALS = frozenset({400, 401, 403, 404})
"""Statuses of a login that was understood and refused."""
REFUSAL_PAUSE = 5.0
"""Seconds for which a refused login is not tried again; doubled with every refusal in a row."""
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """A token of ours. ``lifetime`` is the seconds from now to its expiry."""

    token: bytes = field(repr=False)
    lifetime: float


@dataclass(slots=True, eq=False)
class ServiceLogin:
    """Holds the service token, renews it, and asks identity under it.

    Args:
        log_in: fetches a new token; raises IdentityUnavailable.
    """

    wire: IdentityWire
    log_in: Callable[[], Awaitable[ServiceToken]]
    monotonic: Clock = monotonic
    _lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _tasks: TaskSet = field(init=False, default_factory=TaskSet)
    _token: bytes = field(init=False, repr=False, default=b"")
    _renew_at: float = field(init=False, default=0.0)
    _expires_at: float = field(init=False, default=0.0)
    _refusals: int = field(init=False, default=0)
    _refused_until: float = field(init=False, default=float("-inf"))
    _refusal: str = field(init=False, default="")

    async def token(self) -> bytes:
        """Return a token that has not expired; raises IdentityUnavailable."""
        now = self.monotonic()
        if not self._token or now >= self._expires_at:
            await self._renew(self._token)
        elif now >= self._renew_at and not len(self._tasks):
            self._tasks.start(self._renew_quietly(self._token), name="renew the service token")
        return self._token

    async def get(self, path: str, headers: Mapping[bytes, bytes] | None = None) -> Answered:
        """GET ``path`` under the service token, renewed once where identity answers 401 to it.

        Raises IdentityUnavailable where there is no answer, or no login.
        """
        token = await self.token()
        answered = await self.wire.get(path, token, headers)
        if answered.status != 401:
            self._refusals = 0
            return answered
        await self._renew(token)
        answered = await self.wire.get(path, self._token, headers)
        if answered.status == 401:
            raise self._refused("a new service token is refused")
        return answered

    async def close(self) -> None:
        """End a renewal that still runs."""
        await self._tasks.cancel()

    async def _renew(self, dead: bytes) -> None:
        async with self._lock:
            if self._token != dead:
                return  # another request has renewed it while this one waited
            if self.monotonic() < self._refused_until:
                raise IdentityUnavailable(Trouble.LOGIN_REFUSED, self._refusal)
            try:
                fresh = await self.log_in()
            except IdentityUnavailable as error:
                if error.trouble is Trouble.LOGIN_REFUSED:
                    self._refused(error.detail)
                raise
            self._take(fresh)

    def _refused(self, cause: str) -> IdentityUnavailable:
        """Pause the logins, and return the error for ``cause``, which is repeated during the pause."""
        pause = min(REFUSAL_PAUSE * 2**self._refusals, LONGEST_PAUSE)
        self._refusals = min(self._refusals + 1, 10)
        self._refused_until = self.monotonic() + pause
        self._refusal = cause
        return IdentityUnavailable(Trouble.LOGIN_REFUSED, cause)

    def _take(self, fresh: ServiceToken) -> None:
        if not fresh.token or not fresh.lifetime > 0:
            raise IdentityUnavailable(Trouble.NONSENSE, "the login returned no token that lives")
        now = self.monotonic()
        self._token = fresh.token
        self._expires_at = now + fresh.lifetime
        self._renew_at = self._expires_at - min(RENEW_BEFORE, fresh.lifetime / 10)

    async def _renew_quietly(self, current: bytes) -> None:
        try:
            await self._renew(current)
        except IdentityUnavailable:
            # The token at hand still works; push the next attempt away from this one.
            self._renew_at = self.monotonic() + REFUSAL_PAUSE
