"""Every rule of a configuration, compiled: which of them a request meets.

Path templates stand in one trie. Regular expressions are tried only where the literal text that they
begin with fits the path's first segment, and what was found for a path is remembered. So the cost of a
request grows neither with the number of templates nor, usually, with that of expressions.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from urllib.parse import parse_qsl, quote

from metaproxy.memo import Memo
from metaproxy.protocol.addresses import IPV6_PREFIX
from metaproxy.protocol.compute_api import kind_of_path, resource_path
from metaproxy.protocol.expressions import Captures, Expression, compiled
from metaproxy.protocol.limits import fields
from metaproxy.protocol.limits.consumers import consumer_of
from metaproxy.protocol.limits.fixed_window import FixedWindow
from metaproxy.protocol.limits.gcra import Gcra
from metaproxy.protocol.limits.policy import MICROSECONDS, Policy
from metaproxy.protocol.limits.rates import RateRule, RuleError
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import TENANTS_TRIED, names_of
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import Match

MEMO_ENTRIES = 1024
MEMO_SIZE = 4096
"""Characters of a path and of its counters' keys. Longer ones are looked up each time, so that memory is
bounded in bytes as well."""

ALGORITHMS: dict[str, type[Gcra] | type[FixedWindow]] = {"gcra": Gcra, "fixed-window": FixedWindow}

LITERAL_SEGMENT = re.compile(r"\^?/((?:[A-Za-z0-9_~-]|\\[.~-])+)/(?![?*{])")
"""The beginning of an expression that admits one first segment only: the slash behind it is not optional."""

ID = re.compile(r"(?<![^/ ])[0-9A-Fa-f-]{32,36}(?![^/ ])")
BLANKS = re.compile(r"(?<! ) +(?=/|\Z)")
"""MySQL compares the ids of things without case, and without blanks at their ends (``spelling``)."""

WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{2,}")
"""The names that an expression may give a collection."""


class CompiledRule:
    """A rule with all that can be known of it at start."""

    def __init__(
        self, rule: RateRule, algorithm: str, position: int = 0, ipv6_prefix: int = IPV6_PREFIX
    ) -> None:
        self.rule = rule
        self.position = position
        self.captured = captured_apart(rule)
        self.policy: Policy = ALGORITHMS[algorithm].of(rule)
        self.methods = rule.counted_methods
        self.consumer_of = consumer_of(rule.per, ipv6_prefix)
        self.keep_seconds = self.policy.horizon / MICROSECONDS
        # All that the rule says is part of the key, so that a changed rule has other counters, and a rule
        # that is the same after a reload, or in another process, has the same.
        self.key = f"{quote(rule.name)}@{rule.limit}:{rule.period_seconds}:{_digest(rule, algorithm)}"
        self.quoted_name = b'"%s"' % rule.name.encode("ascii")
        self.policy_item = fields.policy_item(rule, self.policy)

    def key_for(self, captured: Iterable[str]) -> str:
        """Return what the keys of this rule begin with, given the texts that tell its counters apart."""
        return "/".join((self.key, *(quote(_same(text), safe="") for text in captured), ""))


def _same(text: str) -> str:
    """Return what all spellings of a captured ``text`` have in common that may name the same thing."""
    return ID.sub(lambda found: found[0].lower(), BLANKS.sub("", text))


def _digest(rule: RateRule, algorithm: str) -> str:
    """Return a short digest of what ``rule`` says beside its name and rate."""
    said = {name: getattr(rule, name) for name in RateRule.model_fields if name not in ("name", "methods")}
    said |= {"burst": rule.burst or rule.limit, "methods": sorted(rule.counted_methods)}
    text = repr((algorithm, sorted(said.items())))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def captured_apart(rule: RateRule) -> tuple[str, ...]:
    """Return the names of the captures by which the counters of ``rule`` are told apart.

    A group of an expression that has no name stands as "".
    """
    if rule.regex and rule.capture_groups:
        return compiled(rule.regex).names
    captured = rule.captured_names()
    return tuple(name for name in rule.per if name in captured)


class Target:
    """A rule that a request meets, with the part of its counter's key that the path decides."""

    __slots__ = ("key", "query", "rule")

    def __init__(self, rule: CompiledRule, captured: Iterable[str]) -> None:
        self.rule = rule
        self.key = rule.key_for(captured)
        self.query = frozenset(name.lower() for name in rule.rule.query)


Targets = tuple[Target, ...]


class RateTable:
    """Finds the rules that a request meets.

    Args:
        algorithm: ``gcra`` or ``fixed-window``.
        exempt: path templates whose GET and HEAD are never counted (the limits endpoint), but by rules that
            are held before identity.
        ipv6_prefix: IPv6 addresses that have so many bits in common are one consumer.

    Raises RuleError for two rules of one name, or an unknown algorithm.
    """

    def __init__(
        self,
        rules: Sequence[RateRule],
        *,
        algorithm: str,
        exempt: Sequence[str] = (),
        mount: Mount = NOT_MOUNTED,
        ipv6_prefix: int = IPV6_PREFIX,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise RuleError(f"the algorithm is one of {', '.join(ALGORITHMS)}, not {algorithm!r}")
        names = [rule.name for rule in rules]
        if len(set(names)) < len(names):
            raise RuleError("two rates have the same name")
        self.rules = tuple(
            CompiledRule(rule, algorithm, position, ipv6_prefix) for position, rule in enumerate(rules)
        )
        groups = dict.fromkeys(group for rule in rules for group in rule.groups)
        self.groups = {group: position for position, group in enumerate(groups)}
        """Every group with rules of its own, by its place in the order of ``rules``."""
        self._has_queries = any(rule.query for rule in rules)
        finders = _Templates(self.rules, mount), _Expressions(self.rules, mount), _Everywhere(self.rules)
        self._finders = [finder for finder in finders if finder]
        self._exempt: ResourceTable[None] = ResourceTable(mount)
        for template in exempt:
            self._exempt.add(template, None)
        self.is_shaped = self._exempt.is_shaped and all(finder.is_shaped for finder in self._finders)
        """True if all paths of a kind meet the same rules."""
        self._tells_tenants = any(finder.tells_tenants for finder in self._finders)
        """True if the rules or counters that a request meets depend on the token's tenant, too."""
        self._memo: Memo[tuple[str, str, str, str], Targets] = Memo(MEMO_ENTRIES, MEMO_SIZE)

    def targets(self, method: str, path: str, query_string: bytes, group: str, tenant: str = "") -> Targets:
        """Return the rules that a consumer of ``group`` meets with this request, in their order.

        ``tenant`` is that of the token: a path without a tenant is a name of what is this tenant's.
        """
        kind = kind_of_path(path) if self.is_shaped else path
        key = group, method, kind, tenant if self._tells_tenants else ""
        found = self._memo.get(key)
        if found is None:
            found = self._find(method, path, group, tenant)
            size = len(kind) + sum(len(target.key) for target in found)
            self._memo.keep(key, found, size)
        return _with_query(found, query_string) if self._has_queries else found

    def for_group(self, group: str) -> tuple[CompiledRule, ...]:
        """Return the rules that a consumer of ``group`` may meet."""
        return tuple(rule for rule in self.rules if _concerns(rule.rule, group))

    def _find(self, method: str, path: str, group: str, tenant: str) -> Targets:
        found = [
            target
            for finder in self._finders
            for target in finder.find(path, tenant)
            if _concerns(target.rule.rule, group)
            and (not target.rule.methods or method in target.rule.methods)
        ]
        if found and method in ("GET", "HEAD") and self._exempt.has(resource_path(path)):
            # Identity may have to be asked about the token of this request as of any other.
            found = [target for target in found if target.rule.rule.before_identity]
        found.sort(key=_position)
        return tuple(found)


class _Templates:
    """Rules with a path template."""

    def __init__(self, rules: Sequence[CompiledRule], mount: Mount) -> None:
        self._table: ResourceTable[Target] = ResourceTable(mount)
        counts_apart = False
        for rule in rules:
            if rule.rule.path:
                self._table.add(rule.rule.path, Target(rule, ()), exact=rule.rule.exact)
                counts_apart = counts_apart or bool(rule.captured)
        # A counter of its own for each captured text looks at more than the kind of path.
        self.is_shaped = self._table.is_shaped and not counts_apart
        self.tells_tenants = self._table.tells_tenants or counts_apart

    def __len__(self) -> int:
        return len(self._table)

    def find(self, path: str, tenant: str) -> list[Target]:
        resource = resource_path(path)
        found = self._table.matches(resource, tenant)
        if resource != path:  # what looks like a format may be a part of the name
            known = [match.value for match in found]
            found += tuple([match for match in self._table.matches(path, tenant) if match.value not in known])
        return [_at(match) for match in found]


class _Expressions:
    """Rules with a regular expression, sorted by the first segment that they insist on."""

    is_shaped = False
    tells_tenants = True

    def __init__(self, rules: Sequence[CompiledRule], mount: Mount = NOT_MOUNTED) -> None:
        self._mount = mount
        self._count = sum(1 for rule in rules if rule.rule.regex)
        self._collections = {word for rule in rules for word in WORD.findall(rule.rule.regex or "")}
        self._by_segment: dict[str, list[tuple[Expression, CompiledRule]]] = {}
        self._anywhere: list[tuple[Expression, CompiledRule]] = []
        for rule in rules:
            if rule.rule.regex:
                self._bucket(rule.rule.regex).append((compiled(rule.rule.regex), rule))

    def __len__(self) -> int:
        return self._count

    def candidates(self, path: str) -> list[tuple[Expression, CompiledRule]]:
        """Return the expressions worth trying on ``path``."""
        return [*self._by_segment.get(path[1:].partition("/")[0], ()), *self._anywhere]

    def find(self, path: str, tenant: str) -> Iterable[Target]:
        found: dict[str, Target] = {}
        # A format suffix or a final slash names the same resource: neither leads past a rule.
        resource = resource_path(path)
        forms = (resource,) if resource == path else (resource, path)
        for name in dict.fromkeys(name for form in forms for name in self._names(form, tenant)):
            for pattern, rule in self.candidates(name):
                if rule.key in found or (rule.rule.exact and self._mount.inside(name) not in forms):
                    continue
                captures = pattern.find(name)
                if captures is not None:
                    found[rule.key] = Target(rule, _captured(rule, pattern, captures))
        return found.values()

    def _names(self, path: str, tenant: str) -> Iterator[str]:
        """Yield the names of the resource of ``path``, with the prefix that was taken off and without."""
        for known in (tenant,) if tenant else TENANTS_TRIED:
            for name in names_of(path, known, self._collections):
                yield name
                if self._mount:
                    yield self._mount.prefix + name

    def _bucket(self, regex: str) -> list[tuple[Expression, CompiledRule]]:
        found = None if "|" in regex else LITERAL_SEGMENT.match(regex)
        if found is None:
            return self._anywhere
        return self._by_segment.setdefault(found[1].replace("\\", ""), [])


class _Everywhere:
    """Rules that name no path."""

    is_shaped = True
    tells_tenants = False

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._targets = tuple(Target(rule, ()) for rule in rules if not (rule.rule.path or rule.rule.regex))

    def __len__(self) -> int:
        return len(self._targets)

    def find(self, path: str, tenant: str) -> Iterable[Target]:
        return self._targets


def _at(match: Match[Target]) -> Target:
    """The target of a template that matched: its own for each text that tells its counters apart."""
    rule = match.value.rule
    # A tenant that nobody knows is in no capture.
    captured = [match.captures.get(name, "") for name in rule.captured]
    return Target(rule, captured) if rule.captured else match.value


def _position(target: Target) -> int:
    return target.rule.position


def _captured(rule: CompiledRule, pattern: Expression, captures: Captures) -> Captures:
    """The texts that tell one counter of an expression from another."""
    if rule.rule.capture_groups:
        return captures
    return tuple(captures[pattern.names.index(name)] for name in rule.captured)


def _concerns(rule: RateRule, group: str) -> bool:
    if rule.before_identity:
        return True
    if not rule.groups:
        # The rules for all consumers together hold for those with rules of their own, too.
        return not group or rule.is_global
    return group in rule.groups


def _with_query(targets: Targets, query_string: bytes) -> Targets:
    if not any(target.query for target in targets):
        return targets
    # Some servers part parameters at a semicolon, too: what one of them would read must count.
    pairs = parse_qsl(query_string.decode("latin-1").replace(";", "&"), keep_blank_values=True)
    names = {name.lower() for name, _ in pairs}
    return tuple(target for target in targets if target.query <= names)
