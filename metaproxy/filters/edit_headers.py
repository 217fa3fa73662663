"""Header fields that the operator wants taken off, replaced or added, towards the upstream and the client."""

from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Scope

from metaproxy.check import Check, TargetCheck, always, no_application
from metaproxy.exchange import Exchange
from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, header_edits
from metaproxy.verdicts import PASS, Verdict

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


class EditHeaders(Check):
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

    def __init__(
        self,
        app: ASGIApp = no_application,
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

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Edit the request, leave the edits of the answer in ``exchange``, and let the request pass."""
        if self._response:
            exchange.edit_response(self._response)
        if self._request:
            scope["headers"] = self._request.apply(scope["headers"])
        return PASS

    def target_check(self, exchange: Exchange, scope: Scope) -> TargetCheck:
        """Let any read pass: the edits do not depend on the target."""
        return always
