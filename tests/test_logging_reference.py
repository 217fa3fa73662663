"""config/LOGGING.md has a row for every event, with its level and fields, and for every field of a line."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import pytest

from metaproxy.server.handshakes import ALL_REASONS
from metaproxy.telemetry.requests import AccessLine

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = (ROOT / "config" / "LOGGING.md").read_text()
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
REPEATS = {"_failures", "_events"}
"""Names of objects that log an event once a minute, always as a warning."""


@dataclass(frozen=True)
class Event:
    """One place in the code that logs an event."""

    place: str
    names: tuple[str, ...]
    levels: frozenset[str]
    fields: frozenset[str]


def events() -> Iterator[Event]:
    for file in sorted((ROOT / "metaproxy").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from event_of(node, node.func, f"{file.relative_to(ROOT)}:{node.lineno}")


def event_of(call: ast.Call, function: ast.Attribute, place: str) -> Iterator[Event]:
    owner = function.value
    if isinstance(owner, ast.Name) and owner.id == "logger" and function.attr in LEVELS:
        yield event(call, call.args[0], {function.attr}, place)
    elif isinstance(owner, ast.Name) and owner.id == "logger" and function.attr == "log":
        levels = {each.attr.lower() for each in ast.walk(call.args[0]) if is_level(each)}
        yield event(call, call.args[1], levels, place)
    elif isinstance(owner, ast.Attribute) and owner.attr in REPEATS and function.attr == "log":
        yield event(call, call.args[0], {"warning"}, place)


def is_level(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether ``node`` is a level such as ``logging.ERROR``."""
    return isinstance(node, ast.Attribute) and node.attr.isupper()


def event(call: ast.Call, name: ast.expr, levels: set[str], place: str) -> Event:
    choices = [name.body, name.orelse] if isinstance(name, ast.IfExp) else [name]
    names = [str(choice.value) for choice in choices if isinstance(choice, ast.Constant)]
    assert len(names) == len(choices), f"{place}: the name of an event is written out"
    fields = {keyword.arg for keyword in call.keywords if keyword.arg} - {"exc_info"}
    shown = {"error" if level == "exception" else level for level in levels}
    return Event(place, tuple(names), frozenset(shown), frozenset(fields))


EVENTS = list(events())


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the first table under ``heading``."""
    (section,) = re.findall(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("logged", EVENTS, ids=lambda event: event.place)
def test_an_event_has_a_row_with_its_level_and_its_fields(logged: Event) -> None:
    for name in logged.names:
        found = [row for row in rows("Event log") if name in named(row[0])]
        assert len(found) == 1, f"{name} has {len(found)} rows"
        _, levels, meaning = found[0]
        assert logged.levels <= set(levels.split(", "))
        assert logged.fields <= set(named(meaning))


def test_every_row_is_an_event() -> None:
    logged = {name for event in EVENTS for name in event.names}

    assert {name for row in rows("Event log") for name in named(row[0])} == logged


def test_the_places_that_log_are_found() -> None:
    assert len(EVENTS) > 30


def test_the_fields_of_an_access_line_have_rows() -> None:
    fields = [name for row in rows("Access log") for name in named(row[0])]

    assert sorted(fields) == sorted(AccessLine.__struct_fields__)


def test_the_reasons_of_failed_handshakes_have_rows() -> None:
    reasons = [name for row in rows("Handshakes of clients that fail") for name in named(row[0])]

    assert sorted(reasons) == ALL_REASONS
