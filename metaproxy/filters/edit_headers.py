"""Header fields that the operator wants taken off, replaced or added, towards the upstream and the client."""

from starlette.types import ASGIApp, Scope

from metaproxy.check import Check, no_application
from metaproxy.exchange import Exchange
from metaproxy.protocol.header_edits import HeaderSettings, header_edits
from metaproxy.settings.section import chosen
from metaproxy.verdicts import PASS, Verdict


class EditHeaders(Check):
    """Edits the header fields of every request and of every answer; answers nothing by itself.

    Fields that carry identity, tokens, framing or this hop's business cannot be edited: ValueError says
    so. The answer's edits are left in ``exchange.response_edits``, so that refusals get them, too.

    Args:
        settings: the edits; or else its options by name: ``request`` and ``response``.
    """

    passes_any_target = True  # the edits do not depend on the target

    def __init__(
        self, app: ASGIApp = no_application, /, settings: HeaderSettings | None = None, **options: object
    ) -> None:
        self.app = app
        edited = chosen(HeaderSettings, settings, options)
        self._request = header_edits(edited.request)
        self._response = header_edits(edited.response)

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Edit the request, leave the edits of the answer in ``exchange``, and let the request pass."""
        if self._response:
            exchange.edit_response(self._response)
        if self._request:
            scope["headers"] = self._request.apply(scope["headers"])
        return PASS
