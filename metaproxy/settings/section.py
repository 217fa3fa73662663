"""The base of every section of the configuration."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import signature
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str]
"""A key and what is wrong with it, as a sentence."""


class Section(BaseModel):
    """A mapping of the YAML file: frozen, without unknown keys; its docstrings are the documentation.

    Problems of several keys at once are returned by ``findings``, all in one go: an error of type
    ``findings`` carries them to the reporter.
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


S = TypeVar("S", bound=Section)
T = TypeVar("T")


def chosen(kind: type[S], settings: S | None, options: Mapping[str, object]) -> S:
    """Return ``settings``, or a new ``kind`` with ``options`` if there are none.

    Raises ValidationError, a ValueError, for options that ``kind`` does not have, and TypeError for both.
    """
    if settings is None:
        return kind.model_validate(options)
    if options:
        raise TypeError(f"give a {kind.__name__} or its options, not both: {', '.join(options)}")
    return settings


def ask(rules: Iterable[Callable[..., Iterator[T]]], known: Mapping[str, object]) -> Iterator[T]:
    """Yield what ``rules`` yield, each called with what its parameters name; leave out one that lacks any."""
    for rule in rules:
        names = signature(rule).parameters
        if names.keys() <= known.keys():
            yield from rule(**{name: known[name] for name in names})


def alone(key: str, values: tuple[str, ...], word: str) -> Iterator[Finding]:
    """Yield a finding where ``word``, which means everything, has company."""
    if word in values and len(values) > 1:
        yield (key,), f"{word} means everything: remove it, or the others"
