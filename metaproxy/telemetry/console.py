"""Values as they are shown on a terminal or in lines of ``key=value``.

Clients choose many of them: paths, names, ids. A control character, a line break or a bidirectional mark in
such a value must not reach the terminal or begin a line, and a blank must not begin another field.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r'[^ "=\\]+')


def escaped(text: str) -> str:
    """Return ``text`` with every character that is not printable as a JSON escape; blanks stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def quoted(value: object) -> str:
    """Return ``value`` as one word; a JSON string where it has blanks, quotes, ``=`` or what is escaped.

    ``json.loads`` returns the text of a word that begins with a quote.
    """
    text = value if isinstance(value, str) else str(value)
    if text.isprintable() and _BARE.fullmatch(text):
        return text
    return escaped(json.dumps(text, ensure_ascii=False))


def word(value: object) -> str:
    """Return a value of any kind as one word: ``a:1,b:2`` for a mapping, ``a,b`` for a sequence."""
    if isinstance(value, Mapping):
        return quoted(",".join(f"{name}:{member}" for name, member in value.items()))
    if isinstance(value, list | tuple):
        return quoted(",".join(str(member) for member in value))
    return quoted(value)


def shown(value: Any) -> Any:
    """Return an answer that was decoded from JSON, with every text in it escaped."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, list):
        return [shown(member) for member in value]
    if isinstance(value, dict):
        return {escaped(str(name)): shown(member) for name, member in value.items()}
    return value
