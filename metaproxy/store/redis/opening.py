"""The clients of redis-py, and what all of their connections have in common.

Facts this file rests on. redis-py makes a TLS context for each connection, and to read the authorities takes
70 ms of the event loop. It sends CLIENT SETINFO, which Redis has since 7.2; an older one refuses an ACL that
permits it. It does not say which server refused a password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import RedisSSLContext, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import AuthenticationError

NAMELESS = DriverInfo(name="", lib_version="")


class Opening:
    """Makes clients whose connections share one TLS context, read from the files when it is first needed.

    All URLs must name the same files.
    """

    def __init__(self) -> None:
        self._tls: RedisSSLContext | None = None

    def client(self, url: str, **options: Any) -> Redis:
        """Return a client for ``url`` that tries each command once."""
        known: dict[str, Any] = {**options, **parse_url(url)}
        if known.get("connection_class") is SSLConnection:
            known |= {"connection_class": _TlsConnection, "opening": self}
        pool = ConnectionPool(
            protocol=2,  # RESP3 costs two more round trips for each connection, and nothing here needs it
            driver_info=NAMELESS,
            retry=Retry(NoBackoff(), 0),
            **known,
        )
        return Redis.from_pool(pool)

    def shared(self, tls: RedisSSLContext) -> RedisSSLContext:
        """Return the context of all connections, which is ``tls`` for the first."""
        if self._tls is None:
            self._tls = tls
        return self._tls


class _TlsConnection(SSLConnection):
    def __init__(self, *, opening: Opening, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = opening.shared(self.ssl_context)


@contextmanager
def naming(server: str) -> Iterator[None]:
    """Name ``server`` in the error if it refuses the password."""
    try:
        yield
    except AuthenticationError as error:
        raise AuthenticationError(f"{server}: {error}") from error
