"""The TLS context of a listener that runs, renewed by a reload.

Facts this file rests on. asyncio and uvloop ask the context of a listener for one TLS object per connection
(``wrap_bio``). A context keeps what it has loaded: it can take another certificate, but forgets no authority.
Its session tickets are encrypted with keys of its own. So it does not accept a ticket of an earlier context,
and the client has to show a certificate again.
"""

import ssl
from typing import Any


class ListenerContext(ssl.SSLContext):
    """Makes each connection's TLS object with ``current``, so that a reload holds for the next handshake."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Return the TLS object of one connection."""
        return self.current.wrap_bio(*arguments, **options)


def listener_context(current: ssl.SSLContext) -> ListenerContext:
    """Return the context of a listener that begins with ``current``."""
    context = ListenerContext(ssl.PROTOCOL_TLS_SERVER)
    context.current = current
    return context
