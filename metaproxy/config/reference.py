"""The key reference: a table of every key of the configuration, as Markdown."""

import json
from collections.abc import Iterator
from typing import Any

from metaproxy.config.keys import Key, every_key
from metaproxy.config.model.section import Section
from metaproxy.config.schema import json_schema, written_defaults

INTRODUCTION = """\
# Every key of metaproxy.yaml

Made by `metaproxy schema --markdown` from the model; do not edit. `[]` stands for each item of a list,
`(keystone-v3)` for a section that this provider alone has. Required keys have no default.
"""

TYPE_NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false"}
TABLE_HEAD = "\n| key | type | default | meaning |\n|---|---|---|---|\n"


def key_reference() -> str:
    """Return the reference, a chapter per section of the file."""
    return f"{INTRODUCTION}\n{''.join(_chapters())}".rstrip("\n") + "\n"


def _chapters() -> Iterator[str]:
    definitions = json_schema()["$defs"]
    for key in every_key():
        if "." not in key.path:
            yield f"\n## {key.path}\n\n{key.field.description}\n{TABLE_HEAD}"
        else:
            described = definitions[key.section.__name__]["properties"][key.path.rpartition(".")[2]]
            cells = (f"`{key.path}`", _type(described), _default(key), key.field.description or "")
            yield f"| {' | '.join(cells)} |\n"


def _default(key: Key) -> str:
    if key.field.is_required():
        return "required"
    if isinstance(key.field.default, Section):
        return "see below"
    default = written_defaults(key.section)[key.path.rpartition(".")[2]]
    return f"`{default if default and isinstance(default, str) else json.dumps(default)}`"


def _type(described: dict[str, Any]) -> str:
    """The type of a key in a word or two, read from its JSON Schema."""
    if "enum" in described or "const" in described:
        return ", ".join(f"`{word}`" for word in described.get("enum", [described.get("const")]))
    if "anyOf" in described:
        return " or ".join(dict.fromkeys(_type(option) for option in described["anyOf"]))
    if described.get("type") == "array":
        return f"list of {_type(described['items'])}"
    if "$ref" in described or "oneOf" in described:
        return "mapping"
    kind = str(described["type"])
    return str(described.get("format", TYPE_NAMES.get(kind, kind)))
