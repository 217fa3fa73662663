"""Which requests get a plan, and whether a plan still holds."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.plans import MAX_OCTETS, Plan, PlanKey, Plans
from metaproxy.fast_lane.writing import ANSWER_KIND, answer_kind
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.stage import DecidingStage
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.repeating import RepeatedHead, repeated_head
from metaproxy.identity.validator import Rejected, Verdict
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get
from metaproxy.protocol.identity_headers import SERVICE_TOKEN, STORAGE_TOKEN, TOKEN, TOKEN_FIELDS

KEPT = ("type", "method", "path", "raw_path", "query_string", "scheme", "client", "http_version")
"""What of a scope the stages after authorize look at, beside a field of the head."""

UNREPEATED = frozenset(
    {b"x-openstack-request-id", b"traceparent", b"tracestate", STORAGE_TOKEN, SERVICE_TOKEN}
)
"""Fields with which a head is not worth a plan: it names one request, or has more than one token."""


class Planner:
    """Makes plans for heads that came before and into which nothing went but the head and the token.

    Args:
        authenticate: knows tokens; None where none are checked.
    """

    def __init__(self, authenticate: Authenticate | None) -> None:
        self._authenticate = authenticate
        self._verdict_under = authenticate.validator.peek if authenticate is not None else None
        self.plans = Plans()

    def still_holds(self, plan: Plan) -> bool:
        """Say whether the token still has the verdict that ``plan`` was made with."""
        if self._verdict_under is None:
            return True
        return plan.verdict is not None and self._verdict_under(plan.token_key) is plan.verdict

    def count(self, plan: Plan) -> None:
        """Count the look-up of the token of a request that was answered by ``plan``."""
        if self._authenticate is not None and plan.verdict is not None:
            self._authenticate.count(plan.verdict)

    def plan_refusal(self, octets: bytes, exchange: Exchange, scope: Scope, fault: Fault) -> None:
        """Perhaps plan for a request that was refused with ``fault`` before its rates were asked."""
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        token_key, verdict = self._verdict(scope)
        if not isinstance(verdict, Rejected) or verdict.reason != fault.reason:
            return
        # A fault that was raised holds on to all that its traceback has seen; a new one does not.
        again = Fault(fault.status, fault.message, reason=fault.reason, headers=fault.headers)
        self.plans.put(
            key,
            Plan(
                scope=_kept(scope),
                exchange=exchange,
                token_key=token_key,
                verdict=verdict,
                refusal=again,
            ),
        )

    def plan(
        self,
        octets: bytes,
        exchange: Exchange,
        scope: Scope,
        stages: Sequence[DecidingStage],
        request: CacheRequest | None,
        passed: OutgoingRequest | None = None,
    ) -> None:
        """Perhaps plan for a request that memory answered, that ``stages`` have refused, or was passed on.

        ``request`` is what was asked of the cache, ``passed`` what the upstream was sent.
        """
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        token_key, verdict = self._verdict(scope)
        if self._authenticate is not None and (verdict is None or verdict is not exchange.identity):
            return
        if request is not None:
            fields = {name: value for name, value in request.fields.items() if name not in TOKEN_FIELDS}
            request = replace(request, fields=fields)
        head: RepeatedHead | None = None
        if passed is not None:
            token = get(scope["headers"], TOKEN) or b""
            head = repeated_head(passed, octets, token=token, request_id=exchange.request_id)
            if head is None:
                return
        kept = _kept(scope)
        self.plans.put(
            key,
            Plan(
                scope=kept,
                exchange=exchange,
                token_key=token_key,
                verdict=verdict,
                passed=head,
                decisions=tuple(stage.prepared(exchange, kept) for stage in stages),
                request=request,
            ),
        )

    def _key(self, octets: bytes, exchange: Exchange, scope: Scope) -> PlanKey | None:
        """The key of a head that is worth a plan."""
        client = scope["client"]
        address = client[0] if client else ""
        if len(octets) > MAX_OCTETS or exchange.client_address != address:
            return None
        if not UNREPEATED.isdisjoint([name for name, _ in scope["headers"]]):
            return None
        key = self.plans.key(octets, address, scope["scheme"])
        return None if self.plans.is_new(key) else key

    def _verdict(self, scope: Scope) -> tuple[bytes, Verdict | None]:
        token = get(scope["headers"], TOKEN)
        if self._authenticate is None or not token:
            return b"", None
        return self._authenticate.verdict_on(token)


def _kept(scope: Scope) -> Scope:
    accept = get(scope["headers"], b"accept")
    kept = {name: scope[name] for name in KEPT}
    kept["headers"] = [] if accept is None else [(b"accept", accept)]
    kept[ANSWER_KIND] = answer_kind(kept)
    return kept
