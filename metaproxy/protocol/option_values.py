"""The kinds of option values that paths define: templates and regular expressions."""

from typing import Annotated

from pydantic import AfterValidator, Field

from metaproxy.protocol.expressions import compiled
from metaproxy.protocol.routes import parse_template


def _template(value: str) -> str:
    parse_template(value)
    return value


def _regex(value: str) -> str:
    compiled(value)
    return value


Template = Annotated[str, AfterValidator(_template), Field(json_schema_extra={"format": "path-template"})]
Regex = Annotated[str, AfterValidator(_regex), Field(json_schema_extra={"format": "regex"})]
