"""The TLS context of a listener that runs, renewed by a reload.

Facts this file rests on. asyncio and uvloop ask the context of a listener for one TLS object per connection
(``wrap_bio``). A context keeps what it has loaded: it can take another certificate, but forgets no authority.
Its session tickets are encrypted with keys of its own. So it does not accept a ticket of an earlier context,
and the client has to show a certificate again.
"""

import ssl
from asyncio import BaseTransport
from typing import Any
from weakref import WeakSet

import structlog

from metaproxy.assembly.tls import expiries
from metaproxy.clock import wall
from metaproxy.config import Config
from metaproxy.server.handshakes import Failed, WitnessedTls

logger = structlog.get_logger("metaproxy")

DAY_SECONDS = 24 * 60 * 60
WARN_DAYS = 14


class ListenerContext(ssl.SSLContext):
    """Makes each TLS object with the current context, so that a reload holds for the next handshake."""

    _current: ssl.SSLContext
    _valid: "WeakSet[ssl.SSLContext]"
    _failed: Failed

    def report(self, failed: Failed) -> None:
        """Call ``failed`` with the error of each handshake that fails."""
        self._failed = failed

    def renew(self, current: ssl.SSLContext, *, revokes: bool) -> None:
        """Make TLS objects with ``current`` from now on.

        ``revokes`` means that earlier contexts may have trusted an authority that ``current`` does not trust.
        """
        if revokes:
            self._valid = WeakSet()
        self._valid.add(current)
        self._current = current

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Return the TLS object of one connection."""
        self._current.sslobject_class = WitnessedTls
        connection = self._current.wrap_bio(*arguments, **options)
        if isinstance(connection, WitnessedTls):
            connection.failed = self._failed
        return connection

    def is_valid(self, transport: BaseTransport) -> bool:
        """Return whether the authorities still hold that ``transport`` was accepted with."""
        connection = transport.get_extra_info("ssl_object")
        return connection is None or connection.context in self._valid


def _ignore(_error: ssl.SSLError | None) -> None:
    """Report nothing."""


def listener_context(current: ssl.SSLContext, failed: Failed = _ignore) -> ListenerContext:
    """Return the context of a listener that begins with ``current``."""
    context = ListenerContext(ssl.PROTOCOL_TLS_SERVER)
    context.renew(current, revokes=True)
    context.report(failed)
    return context


def warn_of_expiry(config: Config) -> None:
    """Log a warning for each certificate of ``config`` that ends within two weeks, or has ended."""
    for section, end in expiries(config).items():
        days = (end - wall()) / DAY_SECONDS
        if days < WARN_DAYS:
            logger.warning(
                "certificate has expired" if days <= 0 else "certificate expires soon",
                section=f"{section}.tls",
                not_after=end,
                days_left=round(days, 1),
            )
