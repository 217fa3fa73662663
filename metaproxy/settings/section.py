"""What every section of the configuration is made of."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str]
"""A key and what is wrong with it, as a sentence."""


class Section(BaseModel):
    """A mapping of the YAML file: frozen, without unknown keys; its docstrings are the documentation.

    What concerns several keys at once is told by ``findings``, all of it in one go: an error of type
    ``findings`` carries them to whoever reports it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong between the keys of this section: the key concerned, and a sentence."""
        yield from ()

    @model_validator(mode="after")
    def _check_findings(self) -> Self:
        if findings := list(self.findings()):
            text = "; ".join(sentence for _, sentence in findings)
            raise PydanticCustomError("findings", "{text}", {"findings": findings, "text": text})
        return self


def alone(key: str, values: tuple[str, ...], word: str) -> Iterator[Finding]:
    """Yield a finding where ``word``, which means everything, has company."""
    if word in values and len(values) > 1:
        yield (key,), f"{word} means everything: remove it, or the others"
