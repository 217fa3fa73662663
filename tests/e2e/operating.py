"""What an operator does to a running proxy, over its admin listener and its file."""

from typing import Any

import httpx
import yaml

from tests.e2e.deployment import Proxy, Sections


class Operator:
    """One operator of one proxy; a context manager that closes its connections."""

    def __init__(self, proxy: Proxy, *, worker: int = 0) -> None:
        self._proxy = proxy
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{proxy.admin_port + worker}", timeout=300, trust_env=False
        )

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def read(self, path: str) -> Any:
        """Return what ``path`` answers."""
        return self.client.get(path).json()

    def change(self, path: str, asked: dict[str, Any]) -> httpx.Response:
        """Ask for a change."""
        return self.client.post(path, json=asked)

    def generation(self) -> int:
        """Return the number of the configuration in use."""
        generation: int = self.read("/config")["generation"]
        return generation


def rewrite(proxy: Proxy, sections: Sections) -> None:
    """Change keys of ``sections`` in the proxy's file, which is replaced in one step."""
    settings = yaml.safe_load(proxy.config.read_text())
    for name, section in sections.items():
        settings[name] = settings.get(name, {}) | section
    replace(proxy, yaml.safe_dump(settings))


def replace(proxy: Proxy, text: str) -> None:
    """Let ``text`` be the proxy's file."""
    new = proxy.config.with_suffix(".new")
    new.write_text(text)
    new.rename(proxy.config)
