"""From a YAML file to a Config, or to every reason why not."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from metaproxy.config.document import Document, read_document
from metaproxy.config.files import Files
from metaproxy.config.messages import problems_of
from metaproxy.config.model import Config
from metaproxy.config.model.rules import cross_findings
from metaproxy.config.model.section import Section
from metaproxy.config.model.values import FILES, FOLDER
from metaproxy.config.problems import ConfigError, Problem


def load_config(
    path: Path | str,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[tuple[str, str], object] = MappingProxyType({}),
    files: Files | None = None,
) -> Config:
    """Return the configuration in the YAML file ``path``.

    Args:
        path: the file.
        environ: what ``${NAME}`` is taken from.
        overrides: values by section and key that go before those of the file, as the command line gives them.
        files: reads the file and all that it names, certificates included; ``Config.files`` afterwards.

    Raises ConfigError with everything that is wrong, each with file, line and key.
    """
    files = Files() if files is None else files
    document = read_document(Path(path), environ, files=files)
    if not isinstance(document.data, dict):
        raise ConfigError(
            [Problem(document.file, 1, "", "a mapping of sections is expected: server, upstream, …")]
        )
    for (section, key), value in overrides.items():
        if isinstance(values := document.data.setdefault(section, {}), dict):
            values[key] = value
    folder = Path(path).parent
    _include_tokens_file(document, folder, environ, files)
    try:
        config = Config.model_validate(document.data, context={FOLDER: folder, FILES: files})
    except ValidationError as error:
        raise ConfigError(_all_problems(document, error)) from None
    if document.problems:
        raise ConfigError(document.problems)
    files.look_at(_named_in(config))
    return config


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


def _include_tokens_file(document: Document, folder: Path, environ: Mapping[str, str], files: Files) -> None:
    """Put the list that ``identity.tokens_file`` names where ``identity.tokens`` would stand."""
    identity = document.data.get("identity") if isinstance(document.data, dict) else None
    if not isinstance(identity, dict) or not isinstance(identity.get("tokens_file"), str):
        return
    if "tokens" in identity:
        key = ("identity", "tokens_file")
        document.problems.append(document.problem(key, "stands beside tokens: give one of them"))
        return
    try:
        tokens = read_document(
            folder / identity["tokens_file"], environ, at=("identity", "tokens"), files=files
        )
    except ConfigError as error:
        document.problems.extend(replace(problem, key="identity.tokens") for problem in error.problems)
        identity["tokens"] = []
        return
    identity["tokens"] = tokens.data
    document.problems.extend(tokens.problems)
    document.lines.update(tokens.lines)
    document.hidden.update(tokens.hidden)


def _all_problems(document: Document, error: ValidationError) -> list[Problem]:
    """The problems of YAML, of single sections and, where both are sound, between sections."""
    problems = [*document.problems, *problems_of(error, document)]
    broken = {details["loc"][0] for details in error.errors() if details["loc"]}
    if broken:
        sections = _sound_sections(document, broken)
        problems += [document.problem(path, sentence) for path, sentence in cross_findings(sections)]
    # What could not be interpolated is no number either: the first thing said of a key is enough.
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.key or str(problem), problem)
    return list(first.values())


def _sound_sections(document: Document, broken: set[int | str]) -> dict[str, Section]:
    """The sections that are not ``broken``, with those that may be left out at their defaults."""
    data = document.data if isinstance(document.data, dict) else {}
    sections: dict[str, Section] = {}
    for name, field in Config.model_fields.items():
        if name in broken:
            continue
        if name in data:
            annotation: Any = Annotated[field.annotation, field]
            sections[name] = TypeAdapter(annotation).validate_python(data[name])
        else:
            sections[name] = field.get_default()
    return sections
