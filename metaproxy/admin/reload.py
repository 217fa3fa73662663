"""``/reload``: take the configuration file into use anew, without losing a request."""

import msgspec

from metaproxy.admin.operation import Operation, Refusal
from metaproxy.admin.service import ReloadRefused, Service


class Reloaded(msgspec.Struct, omit_defaults=True):
    """The configuration that is now in use."""

    path: str
    generation: int
    needs_restart: list[str]
    """Sections of the file that only a restart can take into use."""
    unchanged: bool = False
    """True if every file was as it had been before; left out if not."""


def operations(service: Service) -> list[Operation]:
    """Return the operation that reloads."""

    async def reload(_: None) -> Reloaded:
        try:
            state = await service.reload()
        except ReloadRefused as refused:
            raise Refusal(
                422, "the configuration was refused; nothing has changed", refused.problems
            ) from None
        return Reloaded(state.path, state.generation, list(state.needs_restart), unchanged=state.unchanged)

    return [Operation("POST", "/reload", "Take the configuration file into use anew.", Reloaded, reload)]
