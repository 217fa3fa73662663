"""The JSON Schema of the configuration, for editors, and the key reference, a table of every key."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from metaproxy.config.keys import Key, every_key
from metaproxy.config.load import FREE_PREFIX
from metaproxy.config.model import Config
from metaproxy.settings.section import Section

INTRODUCTION = """\
# Every key of metaproxy.yaml

Made by `metaproxy schema --markdown` from the model; do not edit. `[]` stands for each item of a list.
A key without a default is required, where its mapping is there at all. Relative paths of files start from
the folder of metaproxy.yaml.
"""

TABLE_HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"

TYPES = {
    "boolean": "true or false",
    "date-time": "date",
    "integer": "whole number",
    "password": "secret",
    "path": "file",
    "string": "text",
}
"""The reference's names of the types and formats of JSON Schema that have a plainer name."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the YAML file, defaults as an operator would write them."""
    schema = Config.model_json_schema()
    definitions = {Config.__name__: schema, **schema["$defs"]}
    for section in {key.section for key in every_key()}:
        properties = definitions[section.__name__]["properties"]
        for name, default in written_defaults(section).items():
            properties[name]["default"] = default
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "metaproxy.yaml",
        "patternProperties": {f"^{FREE_PREFIX}": {"description": "For YAML anchors; nothing reads it."}},
    }


def written_defaults(section: type[Section]) -> dict[str, Any]:
    """Return the defaults of ``section`` by key, in the form that stands in YAML."""
    return section.model_construct().model_dump(mode="json")


def key_reference() -> str:
    """Return the reference: a chapter per section of the file, for ``identity`` one per provider."""
    return "\n".join([INTRODUCTION, *_chapters()])


def _chapters() -> Iterator[str]:
    definitions = json_schema()["$defs"]
    for chapter, keys in groupby(every_key(), lambda key: key.path.partition(".")[0]):
        name, _, provider = chapter.removesuffix(")").partition("(")
        below = sorted(
            (key for key in keys if key.section is not Config),
            key=lambda key: not key.path.endswith(".provider"),
        )
        rows = "".join(_row(key, definitions) for key in below)
        if provider:
            yield f"### {name}, provider: {provider}\n\n{TABLE_HEAD}{rows}"
        else:
            heading = f"## {name}\n\n{Config.model_fields[name].description}\n"
            yield f"{heading}\n{TABLE_HEAD}{rows}" if rows else heading


def _row(key: Key, definitions: dict[str, Any]) -> str:
    section, _, rest = key.path.partition(".")
    name = rest.rpartition(".")[2]
    described = definitions[key.section.__name__]["properties"][name]
    path = f"{section.partition('(')[0]}.{rest}"
    return f"| `{path}` | {_type(described)} | {_default(key, name)} | {key.field.description} |\n"


def _default(key: Key, name: str) -> str:
    if key.field.is_required():
        return ""
    if isinstance(key.field.default, Section):
        return "as below"
    default = written_defaults(key.section)[name]
    return f"`{default if default and isinstance(default, str) else json.dumps(default)}`"


def _type(described: dict[str, Any]) -> str:
    """The type of a key in a word or two, read from its JSON Schema."""
    if "const" in described:
        return f"`{described['const']}`"
    if "enum" in described:
        return ", ".join(f"`{word}`" for word in described["enum"])
    if "anyOf" in described:
        return " or ".join(dict.fromkeys(_type(option) for option in described["anyOf"]))
    if "$ref" in described:
        return "mapping"
    if described["type"] == "array":
        return f"list of {_type(described['items'])}"
    name = str(described.get("format", described["type"]))
    return TYPES.get(name, name.replace("-", " "))
