"""``/config``: the configuration in use, every default filled in and every secret as ``***``."""

from typing import Any

import msgspec

from metaproxy.admin.operation import Operation
from metaproxy.admin.service import Service
from metaproxy.config import effective


class LoadedConfig(msgspec.Struct):
    """The configuration in use. ``loaded_at`` is seconds since the epoch."""

    path: str
    generation: int
    loaded_at: float
    problems: list[str]
    """Why the last reload changed nothing; empty where it succeeded."""
    needs_restart: list[str]
    """Sections of the file that only a restart can take into use."""
    config: dict[str, Any]


def operations(service: Service) -> list[Operation]:
    """Return the operation that shows the configuration."""

    async def show(_: None) -> LoadedConfig:
        state = service.state
        return LoadedConfig(
            path=state.path,
            generation=state.generation,
            loaded_at=state.loaded_at,
            problems=list(state.problems),
            needs_restart=list(state.needs_restart),
            config=effective(service.application.config),
        )

    return [Operation("GET", "/config", "Show the configuration in use.", LoadedConfig, show)]
