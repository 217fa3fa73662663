"""Reads with a known header section: what is the same for all paths of a kind is found out once.

A kind is what paths have in common that differ in the names of things alone (``compute_api.kind_of_path``).
With the same header fields they have the same route, meet the same stages and rates, and need the same
roles. Two questions are left to the path itself: is it ambiguous, and whose is it?
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Scope

from metaproxy.check import Check, always
from metaproxy.exchange import Exchange
from metaproxy.fast_lane.plans import Kind, KindKey, Section, kept
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.no_cache import NoCache
from metaproxy.filters.trace import Trace
from metaproxy.protocol.compute_api import kind_of_path

MAX_KINDS = 16
MAX_KIND_LENGTH = 256
MEMO_ENTRIES = 1024
"""Longer kinds, and those beyond the number, are found out each time: memory is bounded."""


class Counted(Protocol):
    """A stage between the checks and the cache, which has something to do for few requests."""

    concerns_kinds: bool

    def concerns(self, method: str, path: str) -> bool:
        """Say whether the stage has anything to do for a request without a body."""
        ...


class Kinds:
    """Finds out what holds for the kind of a read.

    Args:
        trace, cache: the stages of that name.
        checks: the checks of the line.
        counted: the stages between them and the cache.
    """

    def __init__(
        self,
        trace: Trace,
        checks: Sequence[Check],
        counted: Sequence[Counted],
        cache: MetadataCache | NoCache,
    ) -> None:
        self._trace = trace
        self._checks = checks
        self._counted = counted
        self._cache = cache
        self._concerns_kinds = all(stage.concerns_kinds for stage in counted)
        self._concerned: dict[tuple[str, str], bool] = {}
        self._holds_for_kinds = (
            self._concerns_kinds
            and trace.routes.is_shaped
            and cache.routes_are_shaped
            and all(check.holds_for_kinds for check in checks)
        )

    def of(self, section: Section, exchange: Exchange, scope: Scope) -> Kind | None:
        """Return what holds for a read with this header ``section``; write the route into ``exchange``.

        None if a check or a stage must look at the whole request.
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
        if self.concern_counted(scope):
            return None
        exchange.route = self._trace.routes.template(scope["path"])
        without_token = kept(scope)
        target_checks, decisions = [], []
        for check in self._checks:
            target_check = check.target_check(exchange, scope)
            if target_check is None:
                return None
            if target_check is not always:
                target_checks.append(target_check)
            decision = check.prepared(exchange, without_token)
            if decision is not None:
                decisions.append(decision)
        kind = Kind(
            route=exchange.route,
            is_stored=self._cache.has_route(scope["path"]),
            checks=tuple(target_checks),
            decisions=tuple(decisions),
        )
        if key is not None and len(key[1]) <= MAX_KIND_LENGTH:
            if len(section.kinds) >= MAX_KINDS:
                section.kinds.clear()
            section.kinds[key] = kind
        return kind

    def concern_counted(self, scope: Scope) -> bool:
        """Say whether a stage between the checks and the cache has anything to do for method and path."""
        method, path = scope["method"], scope["path"]
        kind = kind_of_path(path) if self._concerns_kinds else path
        known = self._concerned.get((method, kind))
        if known is None:
            known = any(stage.concerns(method, path) for stage in self._counted)
            if len(kind) <= MAX_KIND_LENGTH:
                if len(self._concerned) >= MEMO_ENTRIES:
                    self._concerned.clear()
                self._concerned[method, kind] = known
        return known
