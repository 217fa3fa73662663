"""An application and its operator: the admin listener without a server around it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metaproxy.admin import create_admin
from metaproxy.admin.service import ConfigState, ReloadRefused
from metaproxy.app import Application, create_app
from metaproxy.store.hub.shared import HubStore
from tests.asgi_driver import Answer, drive
from tests.unit.assembly.configured import STATIC, config

JSON = ("content-type", "application/json")


class Operated:
    """A service whose reloads succeed, or are refused for ``problems``."""

    def __init__(
        self, folder: Path, *sections: str, problems: Iterable[str] = (), hub: HubStore | None = None
    ) -> None:
        self.application: Application = create_app(config(folder, *(sections or (STATIC,))), hub=hub)
        self.state = ConfigState("metaproxy.yaml", generation=1, loaded_at=1000.0)
        self.worker = 0
        self.problems = list(problems)
        self.admin = create_admin(self)

    async def reload(self) -> ConfigState:
        if self.problems:
            raise ReloadRefused(self.problems)
        self.state = ConfigState("metaproxy.yaml", generation=self.state.generation + 1, loaded_at=2000.0)
        return self.state

    async def get(self, path: str, *headers: tuple[str, str]) -> Answer:
        return await drive(self.admin, "GET", path, [("host", "127.0.0.1:9774"), *headers])

    async def post(
        self, path: str, asked: Any, *headers: tuple[str, str], host: str = "127.0.0.1:9774"
    ) -> Answer:
        fields = [("host", host), JSON, *headers]
        return await drive(self.admin, "POST", path, fields, [json.dumps(asked).encode()])


def told(answer: Answer) -> Any:
    """What an answer says."""
    return json.loads(answer.body)
