"""Which requests get a plan, and whether a plan still holds."""

from dataclasses import replace

from starlette.types import Scope

from metaproxy.cache.requests import CacheRequest
from metaproxy.exchange import Exchange, Identity
from metaproxy.fast_lane.plans import MAX_OCTETS, Plan, PlanKey, Plans
from metaproxy.filters.authenticate import Authenticate
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
        self.plans = Plans()

    def find(self, octets: bytes, address: str, scheme: str) -> Plan | None:
        """Return the plan for a head that came as ``octets`` from ``address``, if there is one."""
        return self.plans.get(self.plans.key(octets, address, scheme))

    def still_holds(self, plan: Plan) -> bool:
        """Say whether the token still has the verdict that ``plan`` was made with."""
        if self._authenticate is None:
            return True
        return plan.verdict is not None and self._authenticate.says_again(plan.token_key, plan.verdict)

    def plan(
        self, octets: bytes, exchange: Exchange, scope: Scope, found: CacheRequest | Fault | None
    ) -> None:
        """Perhaps make a plan for a request that was answered from memory.

        ``found`` is what was asked of the cache, or the fault that ended the request before that.
        """
        key = self._key(octets, exchange, scope)
        if key is None:
            return
        token_key, verdict = self._verdict(scope)
        then = _planned_refusal(found, verdict) if isinstance(found, Fault) else found
        is_as_said = self._authenticate is None or verdict is not None
        if (
            then is None
            or not is_as_said
            or (isinstance(verdict, Identity) and verdict is not exchange.identity)
        ):
            return
        if isinstance(then, CacheRequest):
            fields = {name: value for name, value in then.fields.items() if name not in TOKEN_FIELDS}
            then = replace(then, fields=fields)
        accept = get(scope["headers"], b"accept")
        kept = {name: scope[name] for name in KEPT}
        kept["headers"] = [] if accept is None else [(b"accept", accept)]
        self.plans.put(key, Plan(kept, exchange, token_key, verdict, then))

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


def _planned_refusal(fault: Fault, verdict: Verdict | None) -> Fault | None:
    """The fault for a token that is rejected, if that is what ``fault`` is."""
    if not isinstance(verdict, Rejected) or verdict.reason != fault.reason:
        return None
    # A fault that was raised holds on to all that its traceback has seen; a new one does not.
    return Fault(fault.status, fault.message, reason=fault.reason, headers=fault.headers)
