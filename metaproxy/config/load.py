"""From a YAML file to a Config, or to every reason why not."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from metaproxy.config.document import Document, read_document
from metaproxy.config.files import Files
from metaproxy.config.messages import findings_of, path_of, problems_of
from metaproxy.config.model import Config
from metaproxy.config.model.rules import cross_findings
from metaproxy.config.problems import ConfigError, Problem
from metaproxy.settings.section import KeyPath, Section
from metaproxy.settings.values import FILES, FOLDER

Overrides = Mapping[tuple[str, str], object]
Context = dict[str, Path | Files]
NO_OVERRIDES: Overrides = MappingProxyType({})
FREE_PREFIX = "x-"
"""Top-level keys that begin with it are for YAML anchors: nothing reads them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration file, as far as it can be used.

    Args:
        document: the file's data and the places of its keys.
        config: the configuration; None if there is any problem.
        sections: every section that can be looked at alone. Of a section with a wrong key it is what remains
            without that key.
        problems: everything that is wrong.
    """

    document: Document
    config: Config | None = None
    sections: Mapping[str, Section] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def load_config(
    path: Path | str,
    environ: Mapping[str, str] = os.environ,
    overrides: Overrides = NO_OVERRIDES,
    files: Files | None = None,
) -> Config:
    """Return the configuration in the YAML file ``path``.

    Args:
        environ: what ``${NAME}`` is taken from.
        overrides: values by section and key that go before those of the file, as the command line gives them.
        files: reads the file and all that it names, certificates included; ``Config.files`` afterwards.

    Raises ConfigError with everything that is wrong, each with file, line and key.
    """
    reading = read_config(Path(path), environ, overrides, files)
    if reading.config is None:
        raise ConfigError(reading.problems)
    return reading.config


def read_config(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    overrides: Overrides = NO_OVERRIDES,
    files: Files | None = None,
    content: bytes | None = None,
) -> Reading:
    """Read the configuration in ``path``, or in ``content`` with ``path`` as its name."""
    files = Files() if files is None else files
    try:
        document = read_document(path, environ, files=files, content=content)
    except ConfigError as error:
        return Reading(Document(str(path)), problems=tuple(error.problems))
    if not isinstance(document.data, dict):
        problem = Problem(document.file, 1, "", "a mapping of sections is expected: server, upstream, …")
        return Reading(document, problems=(problem,))
    _drop_free_keys(document, document.data)
    for (section, key), value in overrides.items():
        if isinstance(values := document.data.setdefault(section, {}), dict):
            values[key] = value
    _include_tokens_file(document, path.parent, environ, files)
    reading = _validated(document, document.data, {FOLDER: path.parent, FILES: files})
    if reading.config is not None:
        files.look_at([*_named_in(reading.config), *reading.config.store.files()])
    return reading


def effective(config: Config) -> dict[str, Any]:
    """Return ``config`` as it would be written, every default included and every secret as ``***``."""
    return config.model_dump(mode="json")


def _named_in(section: BaseModel) -> Iterator[Path]:
    """Yield every file that a key of ``section`` names."""
    for _, value in section:
        for member in value if isinstance(value, tuple) else (value,):
            if isinstance(member, Path):
                yield member
            elif isinstance(member, BaseModel):
                yield from _named_in(member)


def _drop_free_keys(document: Document, data: dict[str, object]) -> None:
    for key in [key for key in data if key.startswith(FREE_PREFIX)]:
        del data[key]
    document.problems = [problem for problem in document.problems if not problem.key.startswith(FREE_PREFIX)]


_NO_TOKEN = {"token": "unreadable", "user": {"id": "unreadable"}}
"""Stands for the tokens of a file that cannot be read, so that nothing else is said of them."""


def _include_tokens_file(document: Document, folder: Path, environ: Mapping[str, str], files: Files) -> None:
    """Put the list that ``identity.tokens_file`` names where ``identity.tokens`` would stand."""
    identity = document.data.get("identity") if isinstance(document.data, dict) else None
    if not isinstance(identity, dict) or not isinstance(identity.get("tokens_file"), str):
        return
    key = ("identity", "tokens_file")
    if "tokens" in identity:
        document.problems.append(document.problem(key, "stands beside tokens: give one of them"))
        return
    try:
        tokens = read_document(
            folder / identity["tokens_file"], environ, at=("identity", "tokens"), files=files
        )
    except ConfigError as error:
        # The line in this file; the message names the other file and its line.
        document.problems.extend(document.problem(key, str(problem)) for problem in error.problems)
        identity["tokens"] = [_NO_TOKEN]
        return
    identity["tokens"] = tokens.data
    document.problems.extend(tokens.problems)
    document.lines.update(tokens.lines)
    document.hidden.update(tokens.hidden)


def _validated(document: Document, data: dict[str, Any], context: Context) -> Reading:
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        broken = _broken(error)
        sound = _sound_sections(data, broken, context)
        problems = [*document.problems, *problems_of(error, document)]
        if broken:
            problems += [document.problem(path, sentence) for path, sentence in cross_findings(sound)]
        remaining = _without_problems(document, data, error)
        still_broken, further = _looked_at_again(document, remaining, context)
        usable = _sound_sections(remaining, still_broken, context)
        known = [problem.key for problem in problems]
        problems += [found for found in further if not any(key.startswith(found.key) for key in known)]
        return Reading(document, None, {**usable, **sound}, tuple(_first_of_each_key(problems)))
    sections = {name: getattr(config, name) for name in Config.model_fields}
    if document.problems:
        return Reading(document, None, sections, tuple(document.problems))
    return Reading(document, config, sections)


def _first_of_each_key(problems: list[Problem]) -> list[Problem]:
    """Drop all but the first problem of a key: a value that is not interpolated is not a number either."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.key or str(problem), problem)
    return list(first.values())


def _broken(error: ValidationError) -> set[int | str]:
    return {details["loc"][0] for details in error.errors() if details["loc"]}


def _looked_at_again(
    document: Document, remaining: dict[str, Any], context: Context
) -> tuple[set[int | str], list[Problem]]:
    """The sections of ``remaining`` that are broken all the same, and what is wrong between their keys."""
    try:
        Config.model_validate(remaining, context=context)
    except ValidationError as error:
        return _broken(error), [*findings_of(error, document)]
    return set(), []


def _without_problems(document: Document, data: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """``data`` without the keys of its sections in which ``error`` finds something wrong."""
    remaining = {name: dict(value) if isinstance(value, dict) else value for name, value in data.items()}
    for details in error.errors(include_url=False):
        path: KeyPath = path_of(details, document.data)
        if len(path) > 1 and isinstance(section := remaining.get(str(path[0])), dict):
            section.pop(path[1], None)
    return remaining


def _sound_sections(data: dict[str, Any], broken: set[int | str], context: Context) -> dict[str, Section]:
    """The sections that are not ``broken``, with those that may be left out at their defaults."""
    sections: dict[str, Section] = {}
    for name, field_info in Config.model_fields.items():
        if name in broken:
            continue
        if name in data:
            annotation: Any = Annotated[field_info.annotation, field_info]
            sections[name] = TypeAdapter(annotation).validate_python(data[name], context=context)
        else:
            sections[name] = field_info.get_default()
    return sections
