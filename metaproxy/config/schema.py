"""The JSON Schema of the configuration, for editors and for checks without metaproxy."""

from typing import Any

from metaproxy.config.keys import every_key
from metaproxy.config.load import FREE_PREFIX
from metaproxy.config.model import Config
from metaproxy.settings.section import Section


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
