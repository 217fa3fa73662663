"""Rates before identity that some names of a resource would meet and others not, or by another counter.

A path without a tenant is a name of what belongs to the token's tenant (``names``). Before identity that
tenant is not known. So a rule that counts tenants apart has another counter for such a path, and a rule that
names a tenant does not hold for it: a client that alternates the names is let in more often. Such a rule is
found by trial: all names of a path that fits it must meet the same counters.
"""

import re
from collections.abc import Collection, Iterator
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

_ANY_NAMES = ("a path with its tenant", "the same path without it")


def refuse_tenants(rule: RateRule, mount: Mount = NOT_MOUNTED) -> None:
    """Raise RuleError if ``rule``, which is held before identity, needs the tenant of each path."""
    if problem := tenant_problem(rule, mount):
        raise RuleError(f"rate {rule.name!r}: {problem}")


def tenant_problem(rule: RateRule, mount: Mount = NOT_MOUNTED) -> str:
    """Return why ``rule``, which is held before identity, needs the tenant of each path; "" if it does not.

    A rule with an expression that no path could be found for is taken to need it if it captures anything.
    """
    if rule.exact or not (rule.path or rule.regex):
        return ""
    if not (apart := _names_apart(rule, mount.prefix)):
        return ""
    one, other = apart
    return (
        "before identity the tenant of a path that does not name one is not known, so that the rule does not "
        f"count {one} and {other} together, which may name one resource: capture no tenant, and write no "
        "text where a tenant may stand (capture_groups: false for a regex), write exact: true, or remove "
        "before"
    )


@lru_cache(MEMO_ENTRIES)
def _names_apart(rule: RateRule, prefix: str) -> tuple[str, str] | None:
    """Return two names of one resource that have other counters; None if there are none."""
    mount = Mount(prefix)
    # The form of a tenant makes it no better known.
    template = rule.path and re.sub(r":[^/]*\}", "}", rule.path)
    tried = rule.model_copy(update={"path": template, "query": (), "methods": ("ALL",)})
    table = RateTable([tried], algorithm="gcra", mount=mount)
    collections, paths = _tried(tried, mount)
    is_met = False
    for path in paths:
        if not path.startswith("/"):
            continue
        inside = mount.inside(path)
        if counters := _counters(table, inside):
            is_met = True
            for name in _names(inside, collections):
                if _counters(table, name) != counters:
                    return inside, name
    return _ANY_NAMES if rule.regex and not is_met and captured_apart(rule) else None


def _tried(rule: RateRule, mount: Mount) -> tuple[Collection[str], Iterator[str]]:
    """Return the collections that ``rule`` names, and paths that may fit it."""
    if rule.regex:
        return frozenset(WORD.findall(rule.regex)), samples_of(rule.regex, TEXTS)
    table: ResourceTable[None] = ResourceTable(mount)
    table.add(rule.path or "", None)
    return frozenset(table.collections), _paths_of(rule.path or "")


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
