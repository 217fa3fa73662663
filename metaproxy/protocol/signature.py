"""The fields that are the same in every answer, whoever gives it."""

from collections.abc import Sequence

from metaproxy.protocol.headers import Header


class Signature:
    """Ends the head of every answer. Every writer of heads adds the request's id and Date behind it."""

    def __init__(self, via: bytes) -> None:
        self._via = via

    def fields(self, version: str = "1.1") -> Sequence[Header]:
        """Return the fields of an answer that came from the upstream in this ``version`` of HTTP.

        RFC 9110 §7.6.3: Via names the version in which the message was received.
        """
        return [(b"via", self._via if version == "1.1" else version.encode("ascii") + self._via[3:])]
