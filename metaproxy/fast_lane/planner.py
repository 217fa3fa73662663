"""Which requests get a plan, and whether a plan still holds."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.plans import MAX_OCTETS, Plan, PlanKey, Plans
from metaproxy.fast_lane.reads import Read, read_of
from metaproxy.fast_lane.writing import ANSWER_KIND, answer_kind
from metaproxy.filters.authenticate import Authenticate
from metaproxy.filters.stage import DecidingStage
from metaproxy.forward.engine.request import OutgoingRequest
from metaproxy.forward.repeating import repeated_section
from metaproxy.identity.validator import Rejected, Verdict
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.headers import get
from metaproxy.protocol.identity_headers import SERVICE_TOKEN, STORAGE_TOKEN, TOKEN, TOKEN_FIELDS

OF_CONNECTION = ("type", "scheme", "client", "http_version")
OF_REQUEST_LINE = ("method", "path", "raw_path", "query_string")
"""What of a scope the stages after authorize look at, beside a field of the head."""

MAX_SECTIONS = 4096

UNREPEATED = frozenset(
    {
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"traceparent",
        b"tracestate",
        b"x-openstack-request-id",
        SERVICE_TOKEN,
        STORAGE_TOKEN,
    }
)
"""Fields with which a head gets no plan: it names one request, or holds a secret beside its token."""


class Planner:
    """Makes plans for heads that came before and into which nothing went but the head and the token.

    Args:
        authenticate: knows tokens; None where none are checked.
    """

    def __init__(self, authenticate: Authenticate | None) -> None:
        self._authenticate = authenticate
        self._verdict_under = authenticate.validator.peek if authenticate is not None else None
        self.plans = Plans()
        self.sections = Plans(MAX_SECTIONS)

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
    ) -> None:
        """Perhaps plan for a request that memory answered or that ``stages`` have refused.

        ``request`` is what was asked of the cache.
        """
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        token_key, verdict = self._verdict(scope)
        if not self._is_of(verdict, exchange):
            return
        if request is not None:
            fields = {name: value for name, value in request.fields.items() if name not in TOKEN_FIELDS}
            request = replace(request, fields=fields)
        kept = _kept(scope)
        self.plans.put(
            key,
            Plan(
                scope=kept,
                exchange=exchange,
                token_key=token_key,
                verdict=verdict,
                decisions=tuple(stage.prepared(exchange, kept) for stage in stages),
                request=request,
            ),
        )

    def plan_section(self, octets: bytes, exchange: Exchange, scope: Scope, passed: OutgoingRequest) -> None:
        """Perhaps plan for the header section of a read that was passed on; the upstream got ``passed``."""
        read = read_of(octets)
        if read is None or not _is_worth_a_plan(octets, exchange, scope):
            return
        key = self.sections.key(read.section, exchange.client_address, scope["scheme"])
        if self.sections.is_new(key):
            return
        token_key, verdict = self._verdict(scope)
        token = get(scope["headers"], TOKEN) or b""
        section = repeated_section(passed, octets, token=token, request_id=exchange.request_id)
        if section is None or not self._is_of(verdict, exchange):
            return
        self.sections.put(
            key,
            Plan(
                scope=_kept_of_section(scope),
                exchange=exchange,
                token_key=token_key,
                verdict=verdict,
                passed=section,
            ),
        )

    def section_of(self, octets: bytes, address: str, scheme: str) -> tuple[Plan, Read] | None:
        """Return the plan for the header section of ``octets``, if there is one that holds."""
        read = read_of(octets) if len(octets) <= MAX_OCTETS else None
        if read is None:
            return None
        plan = self.sections.get(self.sections.key(read.section, address, scheme))
        return (plan, read) if plan is not None and self.still_holds(plan) else None

    def plan_by_section(
        self,
        key: PlanKey,
        section: Plan,
        exchange: Exchange,
        scope: Scope,
        stages: Sequence[DecidingStage],
        request_line: bytes = b"",
    ) -> None:
        """Perhaps plan for a read that was answered by the plan for its header section.

        ``request_line`` is what the upstream was sent; empty for a read that ``stages`` have refused.
        """
        if self.plans.is_new(key):
            return
        kept = _kept(scope)
        self.plans.put(
            key,
            replace(
                section,
                scope=kept,
                exchange=exchange,
                decisions=tuple(stage.prepared(exchange, kept) for stage in stages),
                request_line=request_line,
                passed=section.passed if request_line else None,
            ),
        )

    def _key(self, octets: bytes, exchange: Exchange, scope: Scope) -> PlanKey | None:
        """The key of a head that is worth a plan."""
        if not _is_worth_a_plan(octets, exchange, scope):
            return None
        key = self.plans.key(octets, exchange.client_address, scope["scheme"])
        return None if self.plans.is_new(key) else key

    def _is_of(self, verdict: Verdict | None, exchange: Exchange) -> bool:
        """Say whether ``verdict`` is all that is known of who has sent the request of ``exchange``."""
        return self._authenticate is None or (verdict is not None and verdict is exchange.identity)

    def _verdict(self, scope: Scope) -> tuple[bytes, Verdict | None]:
        token = get(scope["headers"], TOKEN)
        if self._authenticate is None or not token:
            return b"", None
        return self._authenticate.verdict_on(token)


def _is_worth_a_plan(octets: bytes, exchange: Exchange, scope: Scope) -> bool:
    client = scope["client"]
    if len(octets) > MAX_OCTETS or exchange.client_address != (client[0] if client else ""):
        return False
    return UNREPEATED.isdisjoint([name for name, _ in scope["headers"]])


def _kept(scope: Scope) -> Scope:
    kept = {**_kept_of_section(scope), **{name: scope[name] for name in OF_REQUEST_LINE}}
    kept[ANSWER_KIND] = answer_kind(kept)
    return kept


def _kept_of_section(scope: Scope) -> Scope:
    accept = get(scope["headers"], b"accept")
    kept = {name: scope[name] for name in OF_CONNECTION}
    kept["headers"] = [] if accept is None else [(b"accept", accept)]
    return kept
