"""Texts that a regular expression may match, for rules that are tried before they are used.

``re`` parses the expression, and its tree is walked. A repeat of one character without an end stands for the
texts that the caller gives. Not every text that is found so matches, so the expression is asked about each.
Nothing is found for what ``re`` cannot parse.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from metaproxy.protocol.expressions import compiled, unmarked

CHARACTERS = "a2/A-._~ %"
MOST = 256
"""Texts for one expression, and for each part of it."""

REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
ONE_OF_MANY = (_constants.ANY, _constants.IN, _constants.NOT_LITERAL)
ENDLESS = 256

Items = Sequence[Any]


def samples_of(expression: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield texts that ``expression`` matches; ``texts`` are tried for repeats without an end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what RE2 reads in its own way: [[:alnum:]]
            tree = _parser.parse(unmarked(expression))
    except (re.error, RecursionError, OverflowError):
        return
    known = compiled(expression)
    yield from filter(known.matches, dict.fromkeys(_of_row(list(tree), texts)))


def _of_row(items: Items, texts: Sequence[str]) -> Iterator[str]:
    choices = [list(islice(_of_item(item, texts), MOST)) for item in items]
    yield from islice(_joined(choices), MOST)


def _joined(choices: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield every row of one text of each of ``choices``, rows of their first ones before others."""
    rows: list[tuple[int, tuple[int, ...], int]] = [(0, (0,) * len(choices), 0)] if all(choices) else []
    while rows:
        rank, places, changed = heappop(rows)
        yield "".join([texts[place] for texts, place in zip(choices, places, strict=True)])
        for at in range(changed, len(choices)):
            if places[at] + 1 < len(choices[at]):
                heappush(rows, (rank + 1, (*places[:at], places[at] + 1, *places[at + 1 :]), at))


def _of_item(item: Any, texts: Sequence[str]) -> Iterator[str]:
    operator, argument = item
    if operator in REPEATS:
        yield from _of_repeat(argument, texts)
    elif operator in (_constants.SUBPATTERN, _constants.ATOMIC_GROUP):
        yield from _of_row(list(argument[-1] if operator is _constants.SUBPATTERN else argument), texts)
    elif operator is _constants.BRANCH:
        for alternative in argument[1]:
            yield from _of_row(list(alternative), texts)
    elif operator is _constants.LITERAL:
        yield chr(argument)
    elif operator in (_constants.AT, _constants.ASSERT, _constants.ASSERT_NOT):
        yield ""
    else:
        yield from islice(filter(lambda character: stands_for(item, character), CHARACTERS), 1)


def _of_repeat(argument: Any, texts: Sequence[str]) -> Iterator[str]:
    least, most, repeated = argument
    items = list(repeated)
    if most >= ENDLESS and len(items) == 1 and items[0][0] in ONE_OF_MANY:
        yield from (text for text in texts if all(stands_for(items[0], character) for character in text))
    for text in _of_row(items, texts):
        yield text * min(max(least, 1), most)
    if least == 0:
        yield ""


def stands_for(item: Any, character: str) -> bool:
    """Say whether ``item`` of a parsed expression, which stands for one character, may be ``character``."""
    operator, argument = item
    if operator is _constants.LITERAL:
        return bool(ord(character) == argument)
    if operator is _constants.NOT_LITERAL:
        return bool(ord(character) != argument)
    if operator is not _constants.IN:
        return bool(operator is _constants.ANY)
    found = any(_has(member, character) for member in argument)
    return bool(found != (argument[0][0] is _constants.NEGATE))


def _has(member: Any, character: str) -> bool:
    operator, argument = member
    if operator is _constants.LITERAL:
        return bool(ord(character) == argument)
    if operator is _constants.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    if operator is _constants.CATEGORY:
        return KINDS[argument](character)
    return False


KINDS: dict[Any, Callable[[str], bool]] = {
    _constants.CATEGORY_DIGIT: str.isdigit,
    _constants.CATEGORY_NOT_DIGIT: lambda character: not character.isdigit(),
    _constants.CATEGORY_SPACE: str.isspace,
    _constants.CATEGORY_NOT_SPACE: lambda character: not character.isspace(),
    _constants.CATEGORY_WORD: lambda character: character.isalnum() or character == "_",
    _constants.CATEGORY_NOT_WORD: lambda character: not (character.isalnum() or character == "_"),
}
