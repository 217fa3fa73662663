"""Cross-Origin Resource Sharing: which pages in browsers may read what the API answers."""

from starlette.types import ASGIApp, Scope

from metaproxy.check import Check, no_application
from metaproxy.exchange import Exchange
from metaproxy.protocol.cross_origin import CorsSettings, CrossOriginPolicy
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get, get_all
from metaproxy.settings.section import chosen
from metaproxy.verdicts import PASS, Answer, Verdict


class Cors(Check):
    """Answers preflights, and tells browsers which origins' pages may read every other answer.

    A preflight is 204 to an origin that may ask, 403 to another. It carries no token, so this stage
    stands in front of those that want one. Any other request goes on, whatever its origin: the answer
    then says who may read it, in place of whatever the upstream says about that, and refusals say it
    too. Writes ``exchange.response_edits``.

    Args:
        settings: who may ask for what; or else its options by name: ``origins``, ``credentials``, …
    """

    passes_any_target = True  # what its answer gets does not depend on the target

    def __init__(
        self, app: ASGIApp = no_application, /, settings: CorsSettings | None = None, **options: object
    ) -> None:
        self.app = app
        self._policy = CrossOriginPolicy(chosen(CorsSettings, settings, options))

    def decide(self, exchange: Exchange, scope: Scope) -> Verdict:
        """Answer a preflight; let any other request pass, with what its answer is to say."""
        origin = _origin(scope)
        if origin is not None and _is_preflight(scope):
            return self._preflight(origin)
        exchange.edit_response(self._policy.answer_edits(origin))
        return PASS

    def _preflight(self, origin: bytes) -> Verdict:
        fields = self._policy.preflight(origin)
        if fields is None:
            return Fault(
                403,
                "Pages of this origin may not ask.",
                reason="origin_not_allowed",
                headers=self._policy.vary,
            )
        return Answer(204, [*fields, *self._policy.vary])


def _origin(scope: Scope) -> bytes | None:
    origins = get_all(scope["headers"], b"origin")
    return origins[0] if len(origins) == 1 else None


def _is_preflight(scope: Scope) -> bool:
    """Fetch §3.2.2: OPTIONS, Origin and Access-Control-Request-Method together."""
    return (
        scope["method"] == "OPTIONS" and get(scope["headers"], b"access-control-request-method") is not None
    )
