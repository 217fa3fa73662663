"""The draft as YAML: every value below a comment that says where it came from."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from metaproxy.config.repose.draft import Draft, Kind, Path, Reference

HEADER = """\
# Converted by `metaproxy import-repose` from Repose's files. The comment above a key says which element
# it came from. Read the report of the conversion, too: it tells what was left out and what differs.
"""

NOT_CONVERTED = """\
# This file does not start while imported.not_converted names anything. Each name is a guard of Repose's that
# is missing below. Write what does its work here, then take its name out.
"""

OPEN = "# Open by --accept-open: {}\n"

ORDER = (
    "imported",
    "server",
    "admin",
    "via",
    "headers",
    "cors",
    "upstream",
    "identity",
    "authorization",
    "limits",
    "cache",
    "store",
    "logging",
)
"""The sections in the order of config/metaproxy.yaml."""


def written(draft: Draft) -> str:
    """Return ``draft`` as a YAML file."""
    lines = [HEADER]
    if draft.get("imported.not_converted"):
        lines.append(NOT_CONVERTED)
    accepted = [note for note in draft.notes if note.kind is Kind.OPEN]
    lines += [OPEN.format(" ".join(f"{note.guard}: {note.place}: {note.says}".split())) for note in accepted]
    for name in sorted(draft.data, key=ORDER.index):
        lines += [f"{line}\n" for line in _mapping({name: draft.data[name]}, (), draft, "")]
        lines.append("\n")
    return "".join(lines).rstrip("\n") + "\n"


def _mapping(values: Mapping[str, Any], path: Path, draft: Draft, indent: str) -> Iterator[str]:
    for key, value in values.items():
        here = (*path, key)
        yield from _comment(here, draft, indent)
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _mapping(value, here, draft, indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield f"{indent}{key}:"
            yield from _items(value, here, draft, indent + "  ")
        elif isinstance(value, list) and any((*here, index) in draft.sources for index in range(len(value))):
            yield f"{indent}{key}:"
            for index, item in enumerate(value):
                yield from _comment((*here, index), draft, indent + "  ")
                yield f"{indent}  - {_scalar(item)}"
        else:
            yield f"{indent}{key}: {_scalar(value)}"


def _items(items: list[dict[str, Any]], path: Path, draft: Draft, indent: str) -> Iterator[str]:
    for index, item in enumerate(items):
        yield from _comment((*path, index), draft, indent)
        lines = list(_mapping(item, (*path, index), draft, indent + "  "))
        yield f"{indent}- {lines[0].lstrip()}"
        yield from lines[1:]


def _comment(path: Path, draft: Draft, indent: str) -> Iterator[str]:
    if path in draft.sources:
        # A name in the XML may hold a line end; a comment may not.
        yield f"{indent}# {' '.join(draft.sources[path].split())}"


def _scalar(value: object) -> str:
    """A scalar or a flow list, on one line, quoted where YAML would read it as something else."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=2**20, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: object) -> object:
    """The value as the loader reads it back: a ``$`` from the XML is no reference to the environment."""
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, str):
        return value.replace("$", "$$")
    return [_plain(item) for item in value] if isinstance(value, list) else value
