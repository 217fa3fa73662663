"""Header fields that the operator wants taken off, replaced or added, towards the upstream and the client."""

from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.exchange import Exchange
from metaproxy.filters.stage import DecidingStage
from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, header_edits

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


class EditHeaders(DecidingStage):
    """Edits the header fields of every request and of every answer; answers nothing by itself.

    Fields that carry identity, tokens, framing or this hop's business cannot be edited: ValueError says
    so. The answer's edits are left in ``exchange.response_edits``, so that refusals get them, too.

    Args:
        app: the next application.
        remove_from_request: names of fields that the upstream does not get.
        set_in_request: fields that the upstream gets in place of the client's of that name.
        add_to_request: fields that the upstream gets beside the client's.
        remove_from_response, set_in_response, add_to_response: the same for what the client gets.
    """

    checks_kinds = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        remove_from_request: Iterable[str] = (),
        set_in_request: Fields = (),
        add_to_request: Fields = (),
        remove_from_response: Iterable[str] = (),
        set_in_response: Fields = (),
        add_to_response: Fields = (),
    ) -> None:
        self.app = app
        self._request = header_edits(
            remove=remove_from_request,
            replace=set_in_request,
            add=add_to_request,
            reserved=REQUEST_RESERVED,
        )
        self._response = header_edits(
            remove=remove_from_response,
            replace=set_in_response,
            add=add_to_response,
            reserved=RESPONSE_RESERVED,
        )

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Edit the request, and leave the edits of the answer in ``exchange``. Not repeated; returns True."""
        if self._response:
            exchange.edit_response(self._response)
        if self._request:
            scope["headers"] = self._request.apply(scope["headers"])
        return True

    def decide_target(self, exchange: Exchange, scope: Scope) -> bool:
        """Let any read go on: the edits do not depend on the target."""
        return True

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, edited, and leave what is to be done to the answer."""
        self.decide(exchange, scope)
        await self.app(scope, receive, send)
