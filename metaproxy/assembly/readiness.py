"""The reasons to be ready or not, and the states that are degraded.

A process is ready if it may be given requests: its configuration is loaded, its listeners are open, identity
has accepted it once, and it is not draining. All replicas share the upstream, identity and the store. If one
of these fails later, the process is degraded and stays ready, because the other replicas are no better off,
and this one still answers what it has in memory and refuses the rest in the API's own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaproxy.assembly.shared import SharedState
from metaproxy.forward.target import Target
from metaproxy.identity.cached import CachedValidator

REQUIREMENTS = frozenset({"config", "server", "identity"})
"""The checks that can make a process not ready."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, in words. If it fails, the process is not ready (``is_required``), or else degraded."""

    well: bool
    says: str
    is_required: bool = False


def is_ready(checks: Mapping[str, Check]) -> bool:
    """Return True if every required check is well."""
    return all(check.well for check in checks.values() if check.is_required)


def degraded(checks: Mapping[str, Check]) -> list[str]:
    """Return the names of the checks that fail without being a reason to get no requests."""
    return [name for name, check in checks.items() if not check.well and not check.is_required]


def failing_requirement(checks: Mapping[str, Check], name: str) -> str | None:
    """Return why the check ``name`` makes the process not ready; None if it does not."""
    check = checks.get(name)
    return check.says if check is not None and check.is_required and not check.well else None


def server_check(*, draining: bool) -> Check:
    """Return True if requests are accepted."""
    return Check(not draining, "draining" if draining else "serving", is_required=True)


def upstream_check(targets: Sequence[Target]) -> Check:
    """Return True if every target passes its health checks and answers requests."""
    healthy = sum(target.health.is_healthy for target in targets)
    says = f"{healthy} of {len(targets)} healthy"
    failing = [target for target in targets if target.is_failing]
    if failing:
        says += "; failing: " + ", ".join(target.name for target in failing)
    return Check(not failing, says)


def identity_check(validator: CachedValidator, grace: float) -> Check:
    """The state of identity: has it accepted this process once (required), and does it answer now?

    ``grace`` is the seconds for which known tokens are accepted past their ttl while identity fails.
    """
    health = validator.health
    if not health.is_let_in:
        return Check(well=False, says=_not_let_in(validator), is_required=True)
    if health.available:
        return Check(well=True, says="answers")
    says = f"has failed for {health.unavailable_for():.0f} s ({_reason(validator)}); "
    if any(number for (kind,), number in validator.entries() if kind == "valid"):
        says += f"tokens known before are accepted for {grace:.0f} s past their ttl"
    else:
        says += "no token is known here, so every request that needs one is refused"
    return Check(well=False, says=says)


def store_check(store: SharedState, *, is_cache_cut_off: bool = False) -> Check:
    """True if every use of the shared state works, and the cache is in touch with the other processes.

    ``limits.on_store_failure`` decides what its absence costs.
    """
    troubles = list(store.troubles)
    if is_cache_cut_off:
        troubles.append("the cache is out of touch with the other processes, so the origin is asked")
    return Check(not troubles, "; ".join(troubles) or "available")


def _not_let_in(validator: CachedValidator) -> str:
    health = validator.health
    if health.available:
        return "has not answered yet"
    return f"has never accepted this process, for {health.unavailable_for():.0f} s ({_reason(validator)})"


def _reason(validator: CachedValidator) -> str:
    health = validator.health
    return f"{health.trouble}: {health.cause}" if health.cause else health.trouble
