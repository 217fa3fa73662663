r"""Regular expressions of Java as metaproxy understands them, or why not.

Facts this file rests on (java.util.regex.Pattern; RE2's syntax). RE2 has no possessive quantifiers, atomic
groups, lookaround and backreferences. Named groups are written otherwise. ``\d``, ``\w`` and ``\s`` mean
ASCII in both, and ``\s`` has one character more in Java. Java quotes with ``\Q…\E``, names POSIX classes
with ``\p{…}``, nests and intersects character classes, and lets flags stand anywhere.
"""

import re
from collections.abc import Iterator

from metaproxy.protocol.expressions import ExpressionError, compiled

POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "A-Za-z",
    "Digit": "0-9",
    "Alnum": "A-Za-z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9A-Fa-f",
    "Space": r" \t\n\x0b\f\r",
}
"""US-ASCII classes of \\p{…}, as the inside of a character class."""

SHORTHANDS = {"d": POSIX["Digit"], "w": "A-Za-z0-9_", "s": POSIX["Space"], "h": POSIX["Blank"]}

REPLACED = {"z": r"\Z", "Z": r"\Z", "e": r"\x1b", "a": r"\x07"}
"""Escapes that are written otherwise. ``\\Z`` is also before a newline at the end, which no path has."""

REFUSED = {
    "G": r"\G (the end of the last match)",
    "R": r"\R (any line break)",
    "X": r"\X (a grapheme)",
    "N": r"\N{…} (a character by name)",
    "v": r"\v (vertical whitespace)",
    "H": r"\H",
    "V": r"\V",
    "0": r"\0 (octal escapes)",
    "c": r"\c (control characters)",
}

_TOKEN = re.compile(
    r"""
      \\Q(?P<quoted>.*?)(?:\\E|\Z)
    | \\(?P<property>[pP])(?:\{(?P<class>[^}]*)\}|(?P<letter>.))
    | \\k<(?P<backreference>[^>]+)>
    | \\x\{(?P<codepoint>[0-9A-Fa-f]{1,6})\}
    | \\(?P<escaped>.)
    | \(\?<(?P<group>[A-Za-z][A-Za-z0-9]*)>
    | \(\?(?P<flags>[a-zA-Z]*)(?:-(?P<off>[a-zA-Z]+))?(?P<flag_end>[:)])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Untranslatable(ValueError):
    """An expression that metaproxy cannot take; the message names what of it."""


def translated(java: str, *, may_match_more: bool = False) -> str:
    """Return ``java`` as metaproxy takes it; raises Untranslatable.

    Args:
        java: the expression.
        may_match_more: whether possessive repeats may become greedy ones, and atomic groups plain ones.
            All texts that the expression matched still match, with the same captures, because the first try
            of both is the same. It may match more texts, as a limit may and a permission may not.
    """
    ours = "".join(_parts(java))
    if may_match_more:
        ours = _POSSESSIVE.sub(_plain, ours)
    try:
        compiled(ours)
    except ExpressionError as error:
        raise Untranslatable(str(error)) from error
    return ours


_POSSESSIVE = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})\+|(?P<atomic>\(\?>)", re.DOTALL
)


def _plain(token: re.Match[str]) -> str:
    if token["repeat"]:
        return token["repeat"]
    return "(?:" if token["atomic"] else token[0]


def _parts(java: str) -> Iterator[str]:
    in_class = False
    opened = False
    for token in _TOKEN.finditer(java):
        kind = token.lastgroup
        if token["other"]:
            in_class, opened, text = _character(token["other"], java, token.start(), in_class, opened)
            yield text
            continue
        opened = False
        if kind == "group":
            yield token[0] if in_class else f"(?P<{token['group']}>"
        elif kind == "flag_end":
            yield token[0] if in_class else _flags(token)
        else:
            yield _escape(token, in_class=in_class)


def _character(character: str, java: str, at: int, in_class: bool, opened: bool) -> tuple[bool, bool, str]:
    """Follow one plain character; returns whether a class is open, has just begun, and the text."""
    if not in_class:
        return character == "[", character == "[", character
    if character == "[":
        raise Untranslatable("it nests character classes: write them as one")
    if java.startswith("&&", at):
        raise Untranslatable("it intersects character classes (&&): write the class out")
    if character == "]" and not opened:
        return False, False, character
    return True, opened and character == "^", character


def _escape(token: re.Match[str], *, in_class: bool) -> str:
    if token["quoted"] is not None:
        return re.escape(token["quoted"])
    if token["property"]:
        return _property(token, in_class=in_class)
    if token["backreference"]:
        return f"(?P={token['backreference']})"
    if token["codepoint"]:
        return f"\\x{{{int(token['codepoint'], 16):x}}}"
    letter = token["escaped"]
    if letter in REFUSED:
        raise Untranslatable(f"it uses {REFUSED[letter]}")
    if letter.lower() in SHORTHANDS:
        return _class(SHORTHANDS[letter.lower()], negated=letter.isupper(), in_class=in_class)
    return REPLACED.get(letter, token[0])


def _property(token: re.Match[str], *, in_class: bool) -> str:
    name = token["class"] or token["letter"] or ""
    if name not in POSIX:
        raise Untranslatable(f"it names the class {token[0]}, which Python does not know: write it out")
    return _class(POSIX[name], negated=token["property"] == "P", in_class=in_class)


def _class(inside: str, *, negated: bool, in_class: bool) -> str:
    if not in_class:
        return f"[{'^' if negated else ''}{inside}]"
    if negated:
        raise Untranslatable("it has the negation of a class inside a class: write it out")
    return inside


def _flags(token: re.Match[str]) -> str:
    flags, off = token["flags"], token["off"] or ""
    # d (only \n ends a line) changes nothing for paths, u (Unicode case) is how Python compares anyway.
    kept, kept_off = flags.translate(_WITHOUT_EFFECT), off.translate(_WITHOUT_EFFECT)
    if set(kept + kept_off) - set("imsx"):
        raise Untranslatable(f"it sets flags that Python does not have: {token[0]}")
    if token["flag_end"] == ":":
        return f"(?{kept}{'-' + kept_off if kept_off else ''}:"
    if not kept and not kept_off:
        return ""
    if token.start() == 0 and not kept_off:
        return f"(?{kept})"
    raise Untranslatable(
        f"it sets flags in its middle, {token[0]}: write (?flags:…) around what they are for"
    )


_WITHOUT_EFFECT = {ord("d"): None, ord("u"): None}
