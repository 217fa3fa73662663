"""The head of a request for the upstream, kept for when the client sends the same octets again.

Two things are new each time: the request's id, and the token, which is not kept. Where the token stands in
the client's octets is: the same octets have it in the same place.
"""

from typing import NamedTuple

from metaproxy.forward.client import NO_BODY
from metaproxy.forward.engine.request import OutgoingRequest


class RepeatedHead(NamedTuple):
    """A head in pieces: between ``before`` and ``between`` stands the token, after it the id."""

    method: str
    before: bytes
    between: bytes
    after: bytes
    token: slice

    def message(self, octets: bytes, request_id: str) -> OutgoingRequest:
        """Return the request for the upstream, given that of the client."""
        head = b"".join(
            (self.before, octets[self.token], self.between, request_id.encode("ascii"), self.after)
        )
        return OutgoingRequest(self.method, head, 0, NO_BODY)


def repeated_head(
    message: OutgoingRequest, octets: bytes, *, token: bytes, request_id: str
) -> RepeatedHead | None:
    """Return the head of ``message`` without what is new each time; None where that is not clear.

    ``octets`` is the client's request, ``token`` what it says about who asks, empty for nothing.
    """
    before, has_id, after = message.head.partition(request_id.encode("ascii"))
    if not has_id or request_id.encode("ascii") in after:
        return None
    if not token:
        return RepeatedHead(message.method, before, b"", after, slice(0, 0))
    if octets.count(token) != 1 or before.count(token) != 1 or token in after:
        return None
    before, _, between = before.partition(token)
    start = octets.index(token)
    return RepeatedHead(message.method, before, between, after, slice(start, start + len(token)))
