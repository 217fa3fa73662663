"""Reads with a known header section: what is the same for all paths of a kind is found out once.

A kind is what paths have in common that differ in the names of things alone (``compute_api.kind_of_path``).
With the same header fields they have the same route, meet the same stages and rates, and need the same
roles. What is left is what a path itself tells: whether it is ambiguous, and whose it is.
"""

from collections.abc import Sequence

from starlette.types import Scope

from metaproxy.exchange import Exchange
from metaproxy.fast_lane.plans import Kind, KindKey, Section, kept
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.stage import DecidingStage
from metaproxy.filters.trace import Trace
from metaproxy.protocol.compute_api import kind_of_path

MAX_KINDS = 16
MAX_KIND_LENGTH = 256
MEMO_ENTRIES = 1024
"""What is longer, or one too many, is found out each time: memory is bounded."""


class Kinds:
    """Finds out what holds for the kind of a read.

    Args:
        trace, cache: the stages of that name.
        permits: the stages from guard to authorize.
        charges: the stages between authorize and cache.
    """

    def __init__(
        self,
        trace: Trace,
        permits: Sequence[DecidingStage],
        charges: Sequence[DecidingStage],
        cache: MetadataCache | NoCache,
    ) -> None:
        self._trace = trace
        self._permits = tuple(permits)
        # What charges comes last: where another cannot decide, nothing has been charged.
        self._in_turn = sorted(charges, key=lambda stage: stage.charges)
        self._cache = cache
        self._concerns_kinds = all(stage.concerns_kinds for stage in charges)
        self._concerned: dict[tuple[str, str], tuple[DecidingStage, ...]] = {}
        self._holds_for_kinds = (
            self._concerns_kinds
            and trace.routes.is_shaped
            and cache.routes_are_shaped
            and all(stage.checks_kinds for stage in permits)
            and all(stage.prepares_kinds for stage in charges)
        )

    def of(self, section: Section, exchange: Exchange, scope: Scope) -> Kind | None:
        """Return what holds for a read with this header ``section``; write the route into ``exchange``.

        None where a stage must look at the whole request. Raises Fault.
        """
        key = None
        if self._holds_for_kinds and not scope["query_string"]:
            key = scope["method"], kind_of_path(scope["path"])
            known = section.kinds.get(key)
            if known is not None:
                for check in known.checks:
                    if not check(scope):
                        return None
                exchange.route = known.route
                return known
        return self._found_out(section, exchange, scope, key)

    def _found_out(
        self, section: Section, exchange: Exchange, scope: Scope, key: KindKey | None
    ) -> Kind | None:
        exchange.route = self._trace.routes.template(scope["path"])
        for stage in self._permits:
            if not stage.decide_target(exchange, scope):
                return None
        checks = [stage.left_to_check(exchange, scope) for stage in self._permits]
        without_token = kept(scope)
        kind = Kind(
            route=exchange.route,
            is_stored=self._cache.has_route(scope["path"]),
            checks=tuple([check for check in checks if check is not None]),
            decisions=tuple([stage.prepared(exchange, without_token) for stage in self.concerning(scope)]),
        )
        if key is not None and len(key[1]) <= MAX_KIND_LENGTH:
            if len(section.kinds) >= MAX_KINDS:
                section.kinds.clear()
            section.kinds[key] = kind
        return kind

    def concerning(self, scope: Scope) -> tuple[DecidingStage, ...]:
        """Return the stages between authorize and cache that have anything to decide for method and path."""
        method, path = scope["method"], scope["path"]
        kind = kind_of_path(path) if self._concerns_kinds else path
        known = self._concerned.get((method, kind))
        if known is not None:
            return known
        concerned = tuple([stage for stage in self._in_turn if stage.concerns(method, path)])
        if len(kind) <= MAX_KIND_LENGTH:
            if len(self._concerned) >= MEMO_ENTRIES:
                self._concerned.clear()
            self._concerned[method, kind] = concerned
        return concerned
