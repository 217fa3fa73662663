"""The order of Repose's filters, beside the order of the stages here.

Facts this file rests on. Every filter sees the request as those before it have left it. Here the order is
fixed: token, roles, rates. A filter that delegates does not refuse: it passes the request on with
X-Delegated, and ``derp`` further down refuses every request that has one.
"""

from collections.abc import Sequence

from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.system_model import FilterUse

TOKENS = ("keystone-v2", "openstack-identity-v3")
ADDRESSES = ("ip-user",)
ROLES = "simple-rbac"
RATES = "rate-limiting"
DERP = "derp"


class Chain:
    """The filters of one chain by name, the first of each."""

    def __init__(self, uses: Sequence[FilterUse]) -> None:
        self.uses = uses
        self._places: dict[str, int] = {}
        for index, use in enumerate(uses):
            self._places.setdefault(use.name, index)

    def has(self, *names: str) -> bool:
        """Say whether any filter of these names is in the chain."""
        return any(name in self._places for name in names)

    def use(self, name: str) -> FilterUse:
        """Return the first filter ``name``."""
        return self.uses[self._places[name]]

    def comes_before(self, earlier: str, later: str) -> bool:
        """Say whether both filters are in the chain, and in this order."""
        return self.has(earlier) and self.has(later) and self._places[earlier] < self._places[later]

    def derp_refuses(self, name: str) -> bool:
        """Say whether ``derp`` refuses every request that the filter ``name`` delegates."""
        return self.comes_before(name, DERP) and not self.use(DERP).is_conditional


def check_order(chain: Chain, draft: Draft) -> None:
    """Report each guard that judged requests before what it needs here was known."""
    for name in (ROLES, RATES):
        for token in TOKENS:
            if chain.comes_before(name, token):
                draft.not_converted(
                    f"{name}/order",
                    chain.use(name).place,
                    f"judged requests before {token} had looked at them, so by what the client itself wrote "
                    "or by nothing; here it judges the token's user",
                )
    if chain.comes_before(RATES, ROLES):
        draft.not_converted(
            f"{RATES}/order",
            chain.use(RATES).place,
            f"counted requests that {ROLES} refused afterwards; here they are not counted",
        )


def check_delegations(chain: Chain, draft: Draft) -> None:
    """Decide what becomes of each filter that passes refused requests on."""
    for name, place in draft.delegations.items():
        if chain.derp_refuses(name):
            draft.left_out(place, f"{DERP} refused what it passed on: it is refused where it is decided")
            if name == ROLES and chain.comes_before(ROLES, RATES) and chain.comes_before(RATES, DERP):
                draft.not_converted(
                    f"{RATES}/order",
                    chain.use(RATES).place,
                    f"counted requests that {ROLES} passed on and {DERP} refused; here they are not counted",
                )
            continue
        accepted = draft.not_converted(
            f"{name}/delegating",
            place,
            "passed refused requests on with X-Delegated, and left the decision to what reads that; nothing "
            "here writes it. The refusal is written; with --accept-open a filter of tokens delegates",
        )
        if accepted and name in TOKENS:
            draft.set("identity.on_missing", "delegate", place)
            draft.differs(place, "X-Identity-Status: Invalid tells the upstream, not X-Delegated")


def check_users(chain: Chain, draft: Draft) -> None:
    """Report rates that counted users whom nobody named: Repose refused a request without one."""
    if not chain.has(RATES):
        return
    by_address = any(chain.comes_before(name, RATES) for name in ADDRESSES)
    if not by_address and not any(chain.comes_before(name, RATES) for name in TOKENS):
        draft.not_converted(
            f"{RATES}/user",
            chain.use(RATES).place,
            "refused every request without X-PP-User with 401, and no converted filter before it writes "
            "that; here requests are counted by address and get through",
        )
    if not by_address and draft.get("identity.anonymous"):
        draft.not_converted(
            f"{RATES}/white-list",
            chain.use(RATES).place,
            "refused requests to the white list with 401, because they come without X-PP-User; here they are "
            "counted by address and get through",
        )
