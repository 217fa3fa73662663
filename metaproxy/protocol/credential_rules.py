"""The access rules of an application credential: the requests that its tokens may make.

Facts this file rests on (Identity API v3, "Application Credentials"; keystonemiddleware's ``auth_token``,
which enforces the rules). A rule names a service type, one method and a path pattern. A request is allowed
if one rule has its service, its method to the letter (GET does not include HEAD) and a pattern that matches
its whole path, without the query. A list without a rule allows nothing. The path is percent-encoded as
WebOb writes it (RFC 3986 §3.3, ``pchar``), whatever the client has escaped beyond that. In a pattern:

========= ==========================================
``*``     one character or more of one segment
``{name}`` the same
``**``    any characters, slashes too, or none
========= ==========================================

Everything else is literal; a brace without its partner is ignored. A rule speaks of the path that its owner
has written, never of the other names of the resource: rules only open, so a name that no rule matches stays
closed.

A user writes the patterns, so matching must be linear: an expression with several ``.*`` would let one
credential keep the process busy. All patterns are matched at once, by following their positions as bits of
one number.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from metaproxy.memo import Memo
from metaproxy.protocol.paths import ambiguity

MAX_PATH = 2048
"""Octets. Longer paths match no rule; Keystone takes patterns of 225 characters."""
MAX_RULES_LENGTH = 16384
"""Characters of all patterns of one credential."""
MEMO_ENTRIES = 256

# WebOb's Request.path leaves these as they are (its PATH_SAFE), besides letters, digits and "-._~".
_PATH_SAFE = "/~!$&'()*+,;=:@"
_PART = re.compile(r"(?P<segment>\{[^}]*\}|\*(?!\*))|\*\*|[^{}*]", re.DOTALL)


class CredentialRule(NamedTuple):
    """One rule of an application credential, for the service that stands behind the proxy."""

    method: str
    path: str
    """A path pattern."""


CredentialRules = tuple[CredentialRule, ...]


class Patterns:
    """Path patterns, ready to match. A pattern of ``n`` parts has ``n + 1`` positions, each of them a bit."""

    __slots__ = ("_any", "_end", "_in_segment", "_literals", "_segment", "_start")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._literals: dict[str, int] = {}
        self._start = self._end = self._segment = self._any = 0
        at = 1
        for pattern in patterns:
            self._start |= at
            for part in _parts(pattern):
                self._add(part, at)
                at <<= 1
            self._end |= at
            at <<= 1
        self._in_segment = self._segment << 1
        self._start |= (self._start & self._any) << 1

    def _add(self, part: str, at: int) -> None:
        if part == "*":
            self._segment |= at
        elif part == "**":
            self._any |= at
        else:
            self._literals[part] = self._literals.get(part, 0) | at

    def match(self, path: str) -> bool:
        """Say whether one of the patterns matches all of ``path``."""
        literals, segment, in_segment, any_ = self._literals, self._segment, self._in_segment, self._any
        at = self._start
        for character in path:
            after = (at & literals.get(character, 0)) << 1 | at & any_
            if character != "/":
                after |= (at & segment) << 1 | at & in_segment
            at = after | (after & any_) << 1
            if not at:
                return False
        return bool(at & self._end)


_patterns: Memo[tuple[CredentialRules, str], Patterns] = Memo(MEMO_ENTRIES, MAX_RULES_LENGTH)


def allow(rules: CredentialRules, method: str, path: str, raw_path: bytes) -> bool:
    """Say whether one of ``rules`` allows ``method`` on a path, given decoded and as it was sent.

    A path that two readers could take for different ones is never allowed.
    """
    if not rules or len(raw_path) > MAX_PATH or ambiguity(raw_path) is not None:
        return False
    patterns = _patterns.get((rules, method))
    if patterns is None:
        chosen = dict.fromkeys(rule.path for rule in rules if rule.method == method)
        patterns = _patterns.keep((rules, method), Patterns(chosen), length_of(rules))
    return patterns.match(quote(path, safe=_PATH_SAFE))


def length_of(rules: CredentialRules) -> int:
    """Return the length of all patterns of ``rules``."""
    return sum(len(rule.path) for rule in rules)


def _parts(pattern: str) -> Iterable[str]:
    """Yield ``*``, ``**`` and literal characters, which are neither; two ``**`` in a row are one."""
    former = ""
    for found in _PART.finditer(pattern):
        part = "*" if found["segment"] else found[0]
        if not part == former == "**":
            yield part
        former = part
