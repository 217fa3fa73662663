"""``/config``, ``/reload`` and ``/logging``: the configuration in use, and what is logged."""

from typing import Any, Literal

import msgspec

from metaproxy.admin.operation import Operation, Refusal
from metaproxy.admin.service import ReloadRefused, Service
from metaproxy.config import effective
from metaproxy.telemetry import logs

Level = Literal["debug", "info", "warning", "error"]


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


class Reloaded(msgspec.Struct, omit_defaults=True):
    """The configuration that is now in use."""

    path: str
    generation: int
    needs_restart: list[str]
    """Sections of the file that only a restart can take into use."""
    unchanged: bool = False
    """True if every file was as it had been before; left out if not."""


class LogLevel(msgspec.Struct, forbid_unknown_fields=True):
    """The least level that is written."""

    level: Level


def operations(service: Service) -> list[Operation]:
    """Return the operations on the configuration in use, and on the level of the event log."""

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

    async def reload(_: None) -> Reloaded:
        try:
            state = await service.reload()
        except ReloadRefused as refused:
            raise Refusal(
                422, "the configuration was refused; nothing has changed", refused.problems
            ) from None
        return Reloaded(state.path, state.generation, list(state.needs_restart), unchanged=state.unchanged)

    async def show_level(_: None) -> LogLevel:
        return msgspec.convert({"level": logs.level()}, LogLevel)

    async def change_level(asked: LogLevel) -> LogLevel:
        logs.set_level(asked.level)
        return asked

    return [
        Operation("GET", "/config", "Show the configuration in use.", LoadedConfig, show),
        Operation("POST", "/reload", "Take the configuration file into use anew.", Reloaded, reload),
        Operation("GET", "/logging", "Show the level of the event log.", LogLevel, show_level),
        Operation("POST", "/logging", "Change the level of the event log.", LogLevel, change_level, LogLevel),
    ]
