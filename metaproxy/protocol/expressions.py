r"""Operators' regular expressions, matched in time that grows with the text and no faster.

Facts this file rests on (RE2's syntax and ``re2.h``; Python's ``re``). RE2 follows all alternatives at once,
so an expression takes time proportional to the text. It has no lookaround, backreferences, atomic groups and
possessive repeats, because these cannot be matched so. ``re`` has them, and tries alternatives one after the
other: ``/(a+)+$`` takes hours for a path of 40 characters.

Both agree on what else an expression means, except that ``\d``, ``\w``, ``\s`` and ``\b`` are ASCII
to RE2 and all of Unicode to ``re``. ``\Z`` is written ``\z`` in RE2. ``{,n}`` is a repeat to ``re`` and plain
text to RE2. ``$`` is the end of the text to RE2; to ``re`` it is also before a newline at the end.
``[[:alpha:]]`` is a class to RE2 alone. In this module the classes are ASCII and a dot is any character,
whichever of the two matches, and ``\Z`` and ``{,n}`` are what they are to ``re``.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import re2

BACKTRACKING = "(?backtracking)"
"""Begins an expression that RE2 cannot take, if ``re`` is to match it."""

MAX_BYTES = 1 << 20
"""The most memory of one expression: its program and the states that RE2 remembers."""

MAX_REPEAT = 1000
"""RE2 repeats a part at most so often by number."""

UNSUPPORTED = (
    ("(?=", "lookahead"),
    ("(?!", "lookahead"),
    ("(?<=", "lookbehind"),
    ("(?<!", "lookbehind"),
    ("(?P=", "a backreference"),
    ("(?>", "an atomic group"),
    ("(?(", "a conditional"),
    ("(?#", "a comment"),
)

_TOKEN = re.compile(
    r"""
      \\.                                      # what is escaped is text
    | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]   # and so is what stands in a class
    | (?P<repeat>\{,[0-9]*\})
    | \(\?P?<(?P<name>[^>=!]*)>
    | .
    """,
    re.VERBOSE | re.DOTALL,
)

Captures = tuple[str, ...]


class ExpressionError(ValueError):
    """An expression that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Args:
        pattern: the expression, without the word that lets ``re`` match it.
        backtracks: whether ``re`` matches it.
        names: the name of each group; "" for a group without a name.
        find: returns what the groups of a text captured; None if the whole text does not match.
    """

    pattern: str
    backtracks: bool
    names: tuple[str, ...] = field(compare=False)
    find: Callable[[str], Captures | None] = field(compare=False, repr=False)

    def matches(self, text: str) -> bool:
        """Say whether the whole of ``text`` matches."""
        return self.find(text) is not None


def compiled(expression: str) -> Expression:
    """Return ``expression``, compiled; raises ExpressionError."""
    if expression.startswith(BACKTRACKING):
        return _backtracking(expression.removeprefix(BACKTRACKING))
    spelled, names = _for_re2(expression)
    if len(set(names)) < len(names):
        raise ExpressionError("no regular expression: two groups have the same name")
    try:
        pattern = re2.compile(spelled.encode("utf-8"), _options())
    except re2.error as error:
        raise ExpressionError(_refusal(expression, error)) from None
    except UnicodeEncodeError:
        raise ExpressionError("no regular expression: it has a character that UTF-8 cannot hold") from None
    group_names = {number: name.decode() for name, number in pattern.groupindex.items()}
    return Expression(
        pattern=expression,
        backtracks=False,
        names=tuple(group_names.get(number, "") for number in range(1, pattern.groups + 1)),
        find=_with_groups(pattern) if pattern.groups else _without_groups(pattern),
    )


def unmarked(expression: str) -> str:
    """Return ``expression`` without the word that lets ``re`` match it."""
    return expression.removeprefix(BACKTRACKING)


def _backtracking(expression: str) -> Expression:
    pattern = _python(expression)
    names = {number: name for name, number in pattern.groupindex.items()}

    def find(text: str) -> Captures | None:
        match = pattern.fullmatch(text)
        return match.groups("") if match is not None else None

    return Expression(
        pattern=expression,
        backtracks=True,
        names=tuple(names.get(number, "") for number in range(1, pattern.groups + 1)),
        find=find,
    )


def _python(expression: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # A later Python will read ``[[a]`` otherwise: refuse it now, so that no meaning changes one day.
            warnings.simplefilter("error", FutureWarning)
            return re.compile(expression, re.ASCII | re.DOTALL)
    except (re.error, OverflowError, ValueError, FutureWarning) as error:
        raise ExpressionError(f"no regular expression: {error}") from None
    except RecursionError:
        raise ExpressionError("no regular expression: it is nested too deeply") from None


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_BYTES
    options.dot_nl = True
    options.log_errors = False  # it would write to standard error, past the log
    return options


# Bytes are matched, not text: the module of RE2 counts characters for text, which takes four times as long.
# A character that UTF-8 cannot hold becomes a question mark, because no dot of RE2 matches an invalid octet.


def _without_groups(pattern: Any) -> Callable[[str], Captures | None]:
    fullmatch = pattern.fullmatch
    return lambda text: () if fullmatch(text.encode("utf-8", "replace")) is not None else None


def _with_groups(pattern: Any) -> Callable[[str], Captures | None]:
    fullmatch = pattern.fullmatch

    def find(text: str) -> Captures | None:
        match = fullmatch(text.encode("utf-8", "replace"))
        if match is None:
            return None
        return tuple([captured.decode("utf-8", "replace") for captured in match.groups(b"")])

    return find


def _for_re2(expression: str) -> tuple[str, list[str]]:
    r"""Return ``expression`` with ``\Z`` and ``{,n}`` as RE2 writes them, and the names of its groups."""
    parts: list[str] = []
    names: list[str] = []
    for token in _TOKEN.finditer(expression):
        text = token[0]
        if token["name"]:
            names.append(token["name"])
        if token["repeat"]:
            text = "{0" + text[1:]
        parts.append(r"\z" if text == r"\Z" else text)
    return "".join(parts), names


def _refusal(expression: str, error: re2.error) -> str:
    detail = error.args[0]
    said = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    if said.startswith("pattern too large"):
        return f"RE2 needs more than {MAX_BYTES >> 10} KiB for it: repeat shorter parts, or fewer times"
    try:
        _python(expression)
    except ExpressionError as problem:
        return str(problem)
    return (
        f"RE2, which matches in linear time, cannot take {_cause(expression, said)}: write it in another "
        f"way, or begin it with {BACKTRACKING}, and one long path can keep the process busy"
    )


def _cause(expression: str, said: str) -> str:
    reason, _, what = said.partition(": ")
    if reason == "bad repetition operator":
        return f"a possessive repeat, {what}"
    if reason == "invalid repetition size":
        return f"a repeat above {MAX_REPEAT}, {what}"
    if reason == "invalid escape sequence":
        return f"a backreference, {what}" if what[1:].isdigit() else f"the escape {what}"
    found = [
        (expression.index(operator), f"{name}, {operator}")
        for operator, name in UNSUPPORTED
        if operator in expression
    ]
    return min(found)[1] if found else said
