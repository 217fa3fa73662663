"""Rules between sections: what one needs of another.

The parameters of each rule name the sections that it reads, so that it also runs while some third section is
broken: an operator sees everything that is wrong at once.
"""

from collections.abc import Callable, Iterator, Mapping

from metaproxy.cache.settings import Cache
from metaproxy.config.model.identity import AnyProvider, NoIdentity
from metaproxy.config.model.operations import Store
from metaproxy.config.model.server import Server
from metaproxy.protocol.access_rules import Authorization
from metaproxy.protocol.limits.consumers import OF_TOKENS
from metaproxy.protocol.limits.settings import Limits
from metaproxy.settings.section import Finding, Section, ask


def cross_findings(sections: Mapping[str, Section]) -> Iterator[Finding]:
    """Yield what is wrong between ``sections``, by name; rules about absent ones are left out."""
    return ask(RULES, sections)


def _shared_concurrency_is_shared(limits: Limits, store: Store, server: Server) -> Iterator[Finding]:
    concurrent = limits.absolute.concurrent
    if concurrent is not None and concurrent.shared and store.url is None and server.workers == 1:
        yield (
            ("limits", "absolute", "concurrent", "shared"),
            "needs store.url, or several workers: this process alone shares with nobody; "
            "set store.url, or shared: false",
        )


def _rules_need_tokens(identity: AnyProvider, authorization: Authorization) -> Iterator[Finding]:
    if not isinstance(identity, NoIdentity):
        return
    for index, rule in enumerate(authorization.rules):
        if rule.roles and not rule.is_for_any_role:
            yield (
                ("authorization", "rules", index, "roles"),
                "with identity.provider: none nobody has a role; only [ANY] and [] make sense",
            )


def _rates_need_tokens(identity: AnyProvider, limits: Limits) -> Iterator[Finding]:
    if not isinstance(identity, NoIdentity):
        return
    for index, rule in enumerate(limits.rates):
        place = ("limits", "rates", index)
        if absent := [name for name in rule.per if name in OF_TOKENS]:
            yield (
                (*place, "per"),
                f"with identity.provider: none there is no {absent[0]}; use per: [address] or per: [global]",
            )
        if rule.groups:
            yield (*place, "groups"), "with identity.provider: none nobody has a role or group; remove it"


def _scopes_need_tokens(identity: AnyProvider, cache: Cache) -> Iterator[Finding]:
    if isinstance(identity, NoIdentity) and cache.routes and cache.scope != "shared":
        yield (
            ("cache", "scope"),
            f"with identity.provider: none there is no {cache.scope} to keep answers apart by; "
            "set scope: shared where everybody may see them, or remove cache.routes",
        )


RULES: tuple[Callable[..., Iterator[Finding]], ...] = (
    _shared_concurrency_is_shared,
    _rules_need_tokens,
    _rates_need_tokens,
    _scopes_need_tokens,
)
