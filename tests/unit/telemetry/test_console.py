import json
import re
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.telemetry.access_log import encode_console
from metaproxy.telemetry.console import escaped, quoted, shown
from metaproxy.telemetry.logs import ConsoleLine

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
WORD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=\\]*)(?: |$)')


class Line(msgspec.Struct):
    method: str
    path: str


def fields(text: str) -> dict[str, str]:
    """Read a line of ``key=value`` back."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        word = WORD.match(text, position)
        assert word is not None, text[position:]
        found[word[1]] = json.loads(word[2]) if word[2].startswith('"') else word[2]
        position = word.end()
    return found


@given(TEXT, TEXT)
def test_an_access_line_is_one_line_that_reads_back_to_the_same_fields(method: str, path: str) -> None:
    line = encode_console([Line(method, path)]).decode()

    assert line.endswith("\n")
    assert line[:-1].isprintable()
    sent = {"method": method, "path": path}
    assert fields(line[:-1]) == {name: value for name, value in sent.items() if value}


@given(TEXT, TEXT)
def test_an_event_is_one_line_that_reads_back_to_the_same_fields(path: str, user: str) -> None:
    line = ConsoleLine(colors=False)(None, "", {"event": "seen", "level": "info", "path": path, "user": user})

    assert line.isprintable()
    assert fields(re.sub(r"^ \[info    \] seen +", "", line)) == {"path": path, "user": user}


@given(TEXT)
def test_the_text_of_an_event_brings_no_field_of_its_own(text: str) -> None:
    line = ConsoleLine(colors=False)(None, "", {"event": text, "level": "info"})

    assert line.isprintable()
    assert "=" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", line)


def test_a_line_of_a_traceback_cannot_be_taken_for_an_event() -> None:
    try:
        raise ValueError("broken\n2026-01-01 [info] forged \x1b[31m")
    except ValueError as error:
        event: dict[str, Any] = {"event": "failed", "level": "error", "exc_info": error}
        first, *others = ConsoleLine(colors=False)(None, "", event).split("\n")

    assert "failed" in first
    assert all(line.startswith("  ") and line.isprintable() for line in others)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("/v2.1/images", "/v2.1/images"),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("\x9b", '"\\u009b"'),
        (7, "7"),
    ],
)
def test_a_value_is_quoted_where_it_could_be_read_as_more(value: object, word: str) -> None:
    assert quoted(value) == word


@pytest.mark.parametrize("char", ["\x00", "\n", "\r", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u200f"])
def test_a_character_that_is_not_printable_is_escaped(char: str) -> None:
    assert escaped(f"a {char}") == f"a {json.dumps(char)[1:-1]}"


def test_every_text_of_an_answer_is_escaped_for_the_terminal() -> None:
    assert shown({"a\n": ["\x1b[31m", 1, None]}) == {"a\\n": ["\\u001b[31m", 1, None]}


def test_the_console_formatter_is_structlogs_last_processor() -> None:
    assert (
        ConsoleLine(colors=True)(structlog.get_logger(), "", {"event": "e", "level": "error"}).count("\x1b")
        == 2
    )
