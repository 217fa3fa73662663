"""Keys that load but have no effect in this version: said once at start, not left to be found out."""

from collections.abc import Mapping

from metaproxy.config.model import Config

PENDING: Mapping[str, str] = {}
"""By key path (``tracing.otlp_endpoint``), a sentence that says what happens instead."""


def unsupported(config: Config, pending: Mapping[str, str] = PENDING) -> list[str]:
    """Return a sentence for each key of ``pending`` that ``config`` sets to other than its default."""
    return [f"{path}: {sentence}" for path, sentence in pending.items() if _is_changed(config, path)]


def _is_changed(config: Config, path: str) -> bool:
    *sections, key = path.split(".")
    section: object = config
    for name in sections:
        section = getattr(section, name, None)
    fields = getattr(type(section), "model_fields", {})
    return key in fields and getattr(section, key) != fields[key].get_default()
