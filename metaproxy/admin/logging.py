"""``/logging``: how much this process writes to its event log, until the next reload or restart."""

from typing import Literal

import msgspec

from metaproxy.admin.operation import Operation
from metaproxy.telemetry import logs

Level = Literal["debug", "info", "warning", "error"]


class LogLevel(msgspec.Struct, forbid_unknown_fields=True):
    """The least level that is written."""

    level: Level


def operations() -> list[Operation]:
    """Return the operations on the level of the event log."""

    async def show(_: None) -> LogLevel:
        return msgspec.convert({"level": logs.level()}, LogLevel)

    async def change(asked: LogLevel) -> LogLevel:
        logs.set_level(asked.level)
        return asked

    return [
        Operation("GET", "/logging", "Show the level of the event log.", LogLevel, show),
        Operation("POST", "/logging", "Change the level of the event log.", LogLevel, change, LogLevel),
    ]
