"""The keys of the model, walked: for suggestions, the key reference and its tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from metaproxy.config.model import Config
from metaproxy.settings.section import Section


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the model: its path as it is written, the section that holds it, and its field."""

    path: str
    section: type[Section]
    field: FieldInfo


def every_key(section: type[Section] = Config, prefix: str = "") -> Iterator[Key]:
    """Yield every key of ``section``, parents first; a list's items are written ``rates[]``."""
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        yield Key(path, section, field)
        inside = sections_in(field.annotation)
        is_list = getattr(field.annotation, "__origin__", None) is tuple
        for inner in inside:
            variant = f"({variant_of(inner)})" if len(inside) > 1 else ""
            yield from every_key(inner, f"{path}{variant}{'[]' if is_list else ''}.")


def sections_in(annotation: object) -> list[type[Section]]:
    """Return the sections that a value of this annotation may be."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def variant_of(section: type[Section]) -> str:
    """Return the provider that chooses ``section``, or "" where there is no choice."""
    provider = section.model_fields.get("provider")
    return str(get_args(provider.annotation)[0]) if provider else ""


def section_at(location: tuple[Any, ...]) -> type[Section]:
    """Return the section at ``location``, as pydantic names it: indices and union tags included."""
    candidates: list[type[Section]] = [Config]
    for part in location:
        chosen = [section for section in candidates if variant_of(section) == part]
        if chosen:
            candidates = chosen
        elif isinstance(part, str) and (field := candidates[0].model_fields.get(part)) is not None:
            candidates = sections_in(field.annotation)
    return candidates[0]
