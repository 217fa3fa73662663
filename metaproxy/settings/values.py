"""The kinds of values that several sections have."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, ValidationInfo

from metaproxy.settings.written import NotWrittenSo, text_of

REDACTED = "***"
FOLDER = "folder"
"""The key of the validation context under which the configuration file's folder stands."""
FILES = "files"
"""The key of the validation context under which the files that were read stand."""


def _from_folder(value: Path, info: ValidationInfo) -> Path:
    return info.context[FOLDER] / value if info.context else value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


def _redacted(_: SecretStr) -> str:
    return REDACTED


def _as_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise NotWrittenSo("a number is expected")
    return value


def _visible(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise ValueError(
            "a token stands in a header: it has letters, digits and signs of ASCII, and no spaces"
        )
    return secret


BlankIsNone = BeforeValidator(_blank_is_none)
"""Lets ``${NAME:-}`` stand for a key that is left out."""

NumberInText = BeforeValidator(_as_number)
"""Lets a fixed set of numbers be chosen by ``${NAME}``, which is text."""

NO_BOOLEAN = BeforeValidator(_no_boolean)
"""``true`` is no number, though Python counts with it."""

Number = Annotated[int, NO_BOOLEAN]
Count = Annotated[Number, Field(ge=1, le=1_000_000_000)]
Connections = Annotated[Number, Field(ge=1, le=1_000_000)]
"""Of connections and of requests that run or wait: each is an object in memory."""
Failures = Annotated[Number, Field(ge=1, le=1_000_000)]
Entries = Annotated[Number, Field(ge=1, le=100_000_000)]
"""Of a store in memory that is bounded in entries."""

Secret = Annotated[SecretStr, Field(min_length=1), PlainSerializer(_redacted, return_type=str)]
File = Annotated[Path, AfterValidator(_from_folder)]
"""The path of a file; a relative one starts from the folder of the configuration file."""

Token = Annotated[Secret, AfterValidator(_visible)]
Text = Annotated[str, Field(min_length=1)]
Method = Annotated[str, text_of("method", "[A-Z]+", "a method is a word in capitals such as GET", "GET")]
FieldName = Annotated[
    str,
    text_of(
        "field name", "[A-Za-z0-9-]+", "a field's name has letters, digits and hyphens alone", "X-Region"
    ),
]
