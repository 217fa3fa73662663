"""metaproxy as an operator runs it: a YAML file, a process, real sockets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from metaproxy.demo.world import METAPROXY, RED, RED_IMAGE, Person
from tests.e2e.processes import ServerProcess, accepts
from tests.ports import HeldPorts

RED_API = f"/v2.1/{RED.id}"
METADATA = f"{RED_API}/images/{RED_IMAGE.id}/metadata"
ITEM = f"{METADATA}/label"

ROUTE = "/v2.1/{tenant_id}/images/{image_id}/metadata"
ROUTE_WITHOUT_TENANT = "/v2.1/images/{image_id}/metadata"
CACHED = (f"{ROUTE}/{{key}}", ROUTE, f"{ROUTE_WITHOUT_TENANT}/{{key}}", ROUTE_WITHOUT_TENANT)
CACHE = {"routes": [{"path": path, "ttl": "60s"} for path in CACHED]}

Sections = Mapping[str, Mapping[str, Any]]
NONE: Sections = {}


class Proxy:
    """One running metaproxy.

    ``sections`` are top-level keys of the configuration; their keys go over the usual ones.
    """

    def __init__(
        self,
        folder: Path,
        *,
        upstream: str,
        identity: str,
        sections: Sections = NONE,
        arguments: Sequence[str] = (),
    ) -> None:
        workers = sections.get("server", {}).get("workers", 1)
        self._held, self._admin_held = HeldPorts(), HeldPorts(workers)
        self.port, self.admin_port = self._held.first, self._admin_held.first
        self.url, self.admin_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.admin_port}"
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "metaproxy.yaml"
        settings = self._usual(upstream, identity)
        for name, section in sections.items():
            settings[name] = settings.get(name, {}) | section
        self.config.write_text(yaml.safe_dump(settings))
        self._arguments = ["metaproxy", "serve", "--config", str(self.config), *arguments]
        self._log = folder / "metaproxy.log"
        self.server = ServerProcess(self._arguments, self._log)

    def start_again(self) -> ServerProcess:
        """Start another process with the same configuration."""
        return ServerProcess(self._arguments, self._log.with_suffix(".again.log"))

    def _usual(self, upstream: str, identity: str) -> dict[str, Any]:
        return {
            "server": {"listen": f"127.0.0.1:{self.port}"},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "upstream": {"targets": [upstream]},
            "identity": keystone(identity),
            "cache": CACHE,
        }

    def until_ready(self) -> None:
        """Wait until the proxy accepts connections."""
        self.server.until(lambda: accepts(self.port))

    def client(self, person: Person | None = None) -> httpx.Client:
        """Return a client that speaks for ``person``."""
        headers = {"X-Auth-Token": person.token} if person else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=300, trust_env=False)


def keystone(url: str) -> dict[str, Any]:
    """Return the identity section for the Keystone at ``url``."""
    return {
        "provider": "keystone-v3",
        "url": f"{url}/v3",
        "login": {
            "username": METAPROXY.name,
            "password": METAPROXY.password,
            "user_domain_name": "Default",
            "project_name": METAPROXY.project.name,
            "project_domain_name": "Default",
        },
        "anonymous": ["/", "/v2.1/"],
    }


@contextmanager
def running_proxy(
    folder: Path,
    *,
    upstream: str,
    identity: str,
    sections: Sections = NONE,
    arguments: Sequence[str] = (),
) -> Iterator[Proxy]:
    """Run metaproxy until the end of the block; it accepts connections when the block begins."""
    proxy = Proxy(folder, upstream=upstream, identity=identity, sections=sections, arguments=arguments)
    try:
        proxy.until_ready()
        yield proxy
    finally:
        proxy.server.stop()


def requests_seen(service: str) -> int:
    """Return how many requests a demo service has got; ``GET /``, by which the proxy probes, left out."""
    counted = httpx.get(f"{service}/_demo/requests", trust_env=False).json()
    seen: int = counted["total"] - counted["requests"].get("GET /", 0)
    return seen


@contextmanager
def replicas(
    number: int, folder: Path, *, upstream: str, identity: str, sections: Sections
) -> Iterator[list[Proxy]]:
    """Run so many proxies with the same ``sections`` until the end of the block."""
    with ExitStack() as stack:
        proxies = []
        for one in range(number):
            proxy = Proxy(folder / str(one), upstream=upstream, identity=identity, sections=sections)
            stack.callback(proxy.server.stop)
            proxies.append(proxy)
        for proxy in proxies:
            proxy.until_ready()
        yield proxies
