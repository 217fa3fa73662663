"""Regular expressions that one text can keep busy for ever.

RE2 matches what operators write, in time that grows with the text. Python's ``re`` matches what RE2 cannot
take, if the expression says so. Each of these gets a warning, and the worst get one that says why.

Python's ``re`` tries every way to share a text out among the repeats of an expression. If a repeat without an
end holds another one that can match the same characters, as in ``(a+)+``, there are exponentially many ways;
a text of 40 characters is then enough to stop the event loop. Three repeats in a row that can match the same
characters and all between, as in ``.*/a/.*/b/.*/c``, have ways by the cube of the text's length: a path of
8 KiB takes seconds. ``re`` parses; the tree is looked at here.
"""

import re
from collections.abc import Iterator
from itertools import combinations
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from metaproxy.config.load import Reading
from metaproxy.preflight.note import Note, warning
from metaproxy.protocol.expressions import BACKTRACKING, ExpressionError, compiled, unmarked
from metaproxy.protocol.limits.samples import stands_for
from metaproxy.settings.section import KeyPath

Items = list[Any]

MANY = 10
"""A repeat of so many is as bad as one without an end."""

ENDLESS = 256
"""A repeat of so many shares out a whole path."""

REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
SAMPLES = (*map(chr, range(1, 128)), "é")
"""Two parts are taken to match the same characters if they both match one of these."""

SECTIONS = ("authorization", "limits", "cache", "cors", "identity")
"""The sections in which expressions stand."""

BACKTRACKS = (
    f"{BACKTRACKING}: Python's re matches it, and one long path may keep the process busy; write it so that "
    "RE2 can take it"
)
NEEDLESS = f"RE2 can take it: remove {BACKTRACKING}"

MESSAGE = (
    "a repeat inside a repeat matches the same text, as in (a+)+: one long path can keep the process busy "
    "for ever; write one repeat, or parts that cannot match the same text"
)


IN_A_ROW = 3
"""So many repeats in a row share a text out in too many ways; two take milliseconds for 8 KiB."""

MESSAGE_IN_A_ROW = (
    "three repeats in a row match the same text, as in .*/a/.*/b/.*/c: one long path can keep the process "
    "busy for seconds; write [^/]+ for one segment of a path"
)


def backtracking(reading: Reading) -> Iterator[Note]:
    """Yield every expression that Python's ``re`` matches."""
    for name in SECTIONS:
        section = reading.sections.get(name)
        for key, text in _texts((name,), section.model_dump()) if section is not None else ():
            if BACKTRACKING in text:
                for expression in [text, *_constraints(text)]:
                    if expression.startswith(BACKTRACKING):
                        yield warning(key, _said_of(unmarked(expression)))


def _texts(key: KeyPath, value: object) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inside in value.items():
            yield from _texts((*key, name), inside)
    elif isinstance(value, list | tuple):
        for index, inside in enumerate(value):
            yield from _texts((*key, index), inside)


def _said_of(expression: str) -> str:
    try:
        compiled(expression)
    except ExpressionError:
        if is_slow(expression):
            return MESSAGE
        return MESSAGE_IN_A_ROW if has_repeats_in_a_row(expression) else BACKTRACKS
    return NEEDLESS


def _constraints(template: str) -> list[str]:
    return [
        part[1:-1].partition(":")[2] for part in template.split("/") if part.startswith("{") and ":" in part
    ]


def is_slow(expression: str) -> bool:
    """Say whether ``expression`` may need exponential time."""
    return _is_slow(_parsed(expression))


def has_repeats_in_a_row(expression: str) -> bool:
    """Say whether ``expression`` may need time that grows with the cube of the text."""
    return any(_longest_row(row) >= IN_A_ROW for row in _rows(_parsed(expression)))


def _parsed(expression: str) -> Items:
    """Return the items of ``expression``; none of one that cannot be parsed."""
    try:
        return list(_parser.parse(expression))
    except (re.error, RecursionError, OverflowError):
        return []


def _rows(items: Items) -> Iterator[Items]:
    """Yield the items that follow one another: ``items``, and inside each repeat and each alternative."""
    row = _without_brackets(items)
    yield row
    for item in row:
        for inside in _inside(item):
            yield from _rows(inside)


def _without_brackets(items: Items) -> Items:
    flat: Items = []
    for item in items:
        is_group = item[0] is _constants.SUBPATTERN
        flat += _without_brackets(list(item[1][-1])) if is_group else [item]
    return flat


def _longest_row(items: Items) -> int:
    """The number of repeats one after the other that match the same characters, and all between them.

    A repeat at the very end does not count: it takes whatever is left, and is done.
    """
    longest, row, shared = 0, 0, frozenset(SAMPLES)
    for item in items[:-1]:
        matched = _first_of(item)
        if not matched & shared and not _may_be_empty(item):
            row, shared = 0, frozenset(SAMPLES)
        elif _repeats(item, ENDLESS):
            row, shared = (row + 1, matched & shared) if matched & shared else (1, matched)
            longest = max(longest, row)
    return longest


def _is_slow(items: Items) -> bool:
    return any(
        _repeats(item, MANY) and _has_two_ways(list(item[1][2]), list(item[1][2])) for item in items
    ) or any(_is_slow(inside) for item in items for inside in _inside(item))


def _has_two_ways(items: Items, follow: Items) -> bool:
    """Return True if one text can be shared out among ``items`` and what follows them in several ways.

    That is taken to be so if a repeat may go on, or an alternative begin, with a character with which its
    successor may begin as well.
    """
    for index, item in enumerate(items):
        rest = [*items[index + 1 :], *follow]
        insides = [*_inside(item)]
        if _repeats(item, 1) and item[1][0] != item[1][1]:
            if _first(insides[0]) & _first(rest):
                return True
            rest = [*insides[0], *rest]
        if any(_has_two_ways(inside, rest) for inside in insides):
            return True
        if item[0] is _constants.BRANCH and any(
            _first([*one, *rest]) & _first([*other, *rest]) for one, other in combinations(insides, 2)
        ):
            return True
    return False


def _repeats(item: Any, times: int) -> bool:
    return item[0] in REPEATS and item[1][1] >= times


def _may_be_empty(item: Any) -> bool:
    kind, value = item
    if kind in REPEATS:
        return value[0] == 0 or all(map(_may_be_empty, value[2]))
    if kind is _constants.SUBPATTERN:
        return all(map(_may_be_empty, value[-1]))
    if kind is _constants.BRANCH:
        return any(all(map(_may_be_empty, branch)) for branch in value[1])
    return kind is _constants.AT


def _inside(item: Any) -> Iterator[Items]:
    kind, value = item
    if kind in REPEATS:
        yield list(value[2])
    elif kind is _constants.SUBPATTERN:
        yield list(value[-1])
    elif kind is _constants.BRANCH:
        yield from map(list, value[1])


def _first(items: Items) -> frozenset[str]:
    """The samples with which a text that ``items`` match can begin."""
    found: frozenset[str] = frozenset()
    for item in items:
        found |= _first_of(item)
        if not _may_be_empty(item):
            break
    return found


def _first_of(item: Any) -> frozenset[str]:
    insides = list(_inside(item))
    if insides:
        return frozenset().union(*map(_first, insides))
    return frozenset(sample for sample in SAMPLES if stands_for(item, sample))
