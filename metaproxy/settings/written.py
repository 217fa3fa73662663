"""Values that stand in YAML as short text and in the program as something better."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class NotWrittenSo(ValueError):
    """The text does not have the form of its kind. The message may be followed by the text: it is no secret.

    ``hint`` is what the operator probably wants to write, or "".
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Written:
    """Annotation for pydantic: how a value is read from YAML, written back, and described.

    A file is validated with a context (``settings.values.FOLDER``), and ``parse`` reads each of its values.
    Without a context the value comes from Python code, which may also give it as the program has it.

    Args:
        kind: the word for it in the key reference (``duration``).
        parse: turns the YAML value into the program's; raises ValueError with a helpful sentence.
        text: turns the program's value into what an operator would write.
        pattern: regular expression of the text, for the JSON Schema.
        example: one value as an operator would write it.
        own: checks a value that Python code gives as the program has it: seconds for ``10s``.
    """

    kind: str
    parse: Callable[[object], Any]
    text: Callable[[Any], Any]
    pattern: str
    example: str
    own: Callable[[Any], Any] | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic call ``parse`` and ``text``."""
        return core_schema.with_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.text),
        )

    def _read(self, value: object, info: core_schema.ValidationInfo) -> Any:
        if self.own is not None and info.context is None and not isinstance(value, str):
            return self.own(value)
        return self.parse(value)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the text; a value that is interpolated is known only when it is loaded."""
        return {
            "type": "string",
            "format": self.kind,
            "pattern": rf"^(?:{self.pattern})$|\$\{{",
            "examples": [self.example],
        }


@dataclass(frozen=True, slots=True)
class OneOf:
    """Annotation for pydantic: one of a few words, which a table has."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic treat the words as a Literal."""
        return core_schema.literal_schema([*self.words])


def text_of(kind: str, pattern: str, sentence: str, example: str) -> Written:
    """Return the annotation for text that must match ``pattern``; ``sentence`` tells an operator how."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise NotWrittenSo(sentence)
        return value

    return Written(kind, parse, str, pattern, example)
