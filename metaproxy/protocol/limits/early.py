"""Rates before identity that some names of a resource would meet and others not, or by another counter.

A path without a tenant is a name of what belongs to the token's tenant (``names``). Before identity that
tenant is not known. So a rule that counts tenants apart has another counter for such a path, and a rule that
names a tenant does not hold for it: a client that alternates the names is let in more often. Such a rule is
found by trial: all names of a path that fits it must meet the same counters.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from metaproxy.protocol.limits.rates import RateRule, RuleError
from metaproxy.protocol.limits.samples import samples_of
from metaproxy.protocol.limits.table import WORD, RateTable, captured_apart
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import VERSIONS, names, text_of
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import segments_of

TENANT = "0b0b0b0b1c1c4d4d8e8e2f2f2f2f2f2f"
COLLECTION = "servers"
TEXTS = (
    TENANT,
    COLLECTION,
    "1",
    f"{VERSIONS[0]}/{TENANT}/{COLLECTION}/1",
    f"/{VERSIONS[0]}/{TENANT}/{COLLECTION}/1",
    f"/{VERSIONS[0]}/{TENANT}",
    f"/{VERSIONS[0]}",
    VERSIONS[0],
    VERSIONS[0].removeprefix("v"),
    f"{TENANT}/{COLLECTION}/1",
    f"{COLLECTION}/1",
)
"""Samples of a repeat without an end in an expression."""
MEMO_ENTRIES = 256
"""Rules whose trial is remembered: a reload has most of them again."""
FIRST_SEGMENTS = 3
"""So many captured segments of a template may be a version, a tenant and a collection."""

NEEDS_TENANTS = (
    "before identity the tenant of a path that does not name one is not known, so that such a path would be "
    "counted apart from the same path with its tenant: capture and name no tenant (capture_groups: false for "
    "a regex), write exact: true, or remove before"
)


def refuse_tenants(rule: RateRule, mount: Mount = NOT_MOUNTED) -> None:
    """Raise RuleError if ``rule``, which is held before identity, needs the tenant of each path."""
    if needs_tenants(rule, mount):
        raise RuleError(f"rate {rule.name!r}: {NEEDS_TENANTS}")


def needs_tenants(rule: RateRule, mount: Mount = NOT_MOUNTED) -> bool:
    """Say whether ``rule``, which is held before identity, needs the tenant of each path.

    A rule with an expression that no path could be found for is taken to need it if it captures anything.
    """
    return not rule.exact and bool(rule.path or rule.regex) and _needs_tenants(rule, mount.prefix)


@lru_cache(MEMO_ENTRIES)
def _needs_tenants(rule: RateRule, prefix: str) -> bool:
    mount = Mount(prefix)
    template = re.sub(r":[^/]*\}", "}", rule.path)  # the form of a tenant makes it no better known
    tried = replace(rule, path=template, query=(), methods=frozenset())
    table = RateTable([tried], algorithm="gcra", mount=mount)
    collections, paths = _tried(tried, mount)
    is_met = False
    for path in paths:
        if not path.startswith("/"):
            continue
        inside = mount.inside(path)
        if _counters(table, inside):
            is_met = True
            if len({_counters(table, name) for name in _names(inside, collections)}) > 1:
                return True
    return bool(rule.regex) and not is_met and bool(captured_apart(rule))


def _tried(rule: RateRule, mount: Mount) -> tuple[Collection[str], Iterator[str]]:
    """Return the collections that ``rule`` names, and paths that may fit it."""
    if rule.regex:
        return frozenset(WORD.findall(rule.regex)), samples_of(rule.regex, TEXTS)
    table: ResourceTable[None] = ResourceTable(mount)
    table.add(rule.path, None)
    return frozenset(table.collections), _paths_of(rule.path)


def _paths_of(template: str) -> Iterator[str]:
    captured = 0
    choices: list[tuple[str, ...]] = []
    for part in template.split("/")[1:]:
        if not part.startswith("{") and part not in ("*", "**"):
            choices.append((part,))
            continue
        captured += 1
        choices.append((TENANT, COLLECTION, VERSIONS[0]) if captured <= FIRST_SEGMENTS else ("1",))
    ends = ("", f"/{COLLECTION}", f"/{TENANT}/{COLLECTION}/1") if template.endswith("/**") else ("",)
    for parts in product(*choices):
        for end in ends:
            yield "/" + "/".join(parts) + end


def _counters(table: RateTable, path: str) -> tuple[str, ...]:
    return tuple(target.key for target in table.targets("GET", path, b"", ""))


def _names(path: str, collections: Collection[str]) -> Iterator[str]:
    segments = segments_of(path)
    for name in names(segments, collections, wide=False):
        yield "/" + "/".join([text_of(source, segments, TENANT) for source in name])
