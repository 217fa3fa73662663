"""Cross-Origin Resource Sharing: which pages in browsers may read what the API answers."""

from starlette.types import ASGIApp, Receive, Scope, Send

from metaproxy.exchange import Exchange
from metaproxy.filters.stage import DecidingStage
from metaproxy.protocol.cross_origin import CorsSettings, CrossOriginPolicy
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get, get_all
from metaproxy.settings.section import chosen


class Cors(DecidingStage):
    """Answers preflights, and tells browsers which origins' pages may read every other answer.

    A preflight is 204 to an origin that may ask, 403 to another. It carries no token, so this stage
    stands in front of those that want one. Any other request goes on, whatever its origin: the answer
    then says who may read it, in place of whatever the upstream says about that, and refusals say it
    too. Writes ``exchange.response_edits``, and ``outcome`` where it answers.

    Args:
        app: the next application.
        settings: who may ask for what; by default what ``options`` say.
        options: the options of ``settings`` by name, in its place: ``origins``, ``credentials``, …
    """

    checks_kinds = True

    def __init__(self, app: ASGIApp, /, settings: CorsSettings | None = None, **options: object) -> None:
        self.app = app
        self._policy = CrossOriginPolicy(chosen(CorsSettings, settings, options))

    def decide(self, exchange: Exchange, scope: Scope) -> bool:
        """Let a request go on whose answer pages may read, or not; False for a preflight. Not repeated."""
        origin = _origin(scope)
        if origin is not None and _is_preflight(scope):
            return False
        exchange.edit_response(self._policy.answer_edits(origin))
        return True

    def decide_target(self, exchange: Exchange, scope: Scope) -> bool:
        """Let any read go on: what its answer gets does not depend on the target."""
        return True

    async def handle(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight; pass on any other request."""
        if self.decide(exchange, scope):
            await self.app(scope, receive, send)
        elif (origin := _origin(scope)) is not None:
            await self._answer(exchange, origin, send)

    async def _answer(self, exchange: Exchange, origin: bytes, send: Send) -> None:
        fields = self._policy.preflight(origin)
        if fields is None:
            raise Fault(
                403,
                "Pages of this origin may not ask.",
                reason="origin_not_allowed",
                headers=self._policy.vary,
            )
        exchange.outcome = "answered"
        head = [*fields, *self._policy.vary]
        await send({"type": "http.response.start", "status": 204, "headers": head})
        await send({"type": "http.response.body", "body": b""})


def _origin(scope: Scope) -> bytes | None:
    origins = get_all(scope["headers"], b"origin")
    return origins[0] if len(origins) == 1 else None


def _is_preflight(scope: Scope) -> bool:
    """Fetch §3.2.2: OPTIONS, Origin and Access-Control-Request-Method together."""
    return (
        scope["method"] == "OPTIONS" and get(scope["headers"], b"access-control-request-method") is not None
    )
