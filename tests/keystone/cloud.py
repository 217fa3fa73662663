"""What an administrator does to a Keystone, and how users log in to it: as few calls as the tests need."""

from functools import cached_property
from typing import Any

import httpx

from tests.keystone.server import ADMIN_PASSWORD

URL = "http://keystone.test/v3"
DEFAULT = {"id": "default"}


class Cloud:
    """A client of the Identity API over a unix socket."""

    def __init__(self, socket: str) -> None:
        self.client = httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=300)

    @cached_property
    def admin(self) -> str:
        """A token of the administrator, where one is needed: those of a brief Keystone would be over soon."""
        return self.log_in("admin", ADMIN_PASSWORD, {"project": {"name": "admin", "domain": DEFAULT}})

    @cached_property
    def roles(self) -> dict[str, str]:
        """The ids of roles by their names."""
        return {role["name"]: role["id"] for role in self.call("GET", "/roles")["roles"]}

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Call ``path`` as the administrator."""
        headers = {"X-Auth-Token": self.admin} | {name.replace("_", "-"): headers[name] for name in headers}
        response = self.client.request(method, URL + path, json=body, headers=headers)
        response.raise_for_status()
        return response.json() if response.content else None

    def log_in(self, name: str, password: str, scope: dict[str, Any] | str | None = None) -> str:
        """Return a token of a user of the default domain; ``scope`` is as Keystone reads it."""
        user = {"name": name, "domain": DEFAULT, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if scope is not None:
            auth["scope"] = scope
        response = self.client.post(f"{URL}/auth/tokens", json={"auth": auth})
        response.raise_for_status()
        return str(response.headers["X-Subject-Token"])

    def project(self, name: str) -> str:
        """Make a project and return its id."""
        body = {"project": {"name": name, "domain_id": "default"}}
        return str(self.call("POST", "/projects", body)["project"]["id"])

    def user(self, name: str, password: str, **roles: str) -> str:
        """Make a user with roles: ``member="projects/<id>"``; return its id."""
        body = {"user": {"name": name, "password": password, "domain_id": "default"}}
        user_id = str(self.call("POST", "/users", body)["user"]["id"])
        for role, target in roles.items():
            self.call("PUT", f"/{target}/users/{user_id}/roles/{self.roles[role]}")
        return user_id

    def revoke(self, token: str) -> None:
        """Revoke ``token``."""
        self.call("DELETE", "/auth/tokens", X_Subject_Token=token)

    def application_credential(
        self, user_id: str, token: str, name: str = "metaproxy", **fields: Any
    ) -> tuple[str, str]:
        """Return id and secret of a new application credential of the user whose ``token`` it is."""
        made = self.call(
            "POST",
            f"/users/{user_id}/application_credentials",
            {"application_credential": {"name": name, **fields}},
            X_Auth_Token=token,
        )["application_credential"]
        return made["id"], made["secret"]

    def log_in_with(self, credential: tuple[str, str]) -> str:
        """Return a token of an application credential, given by its id and secret."""
        method = "application_credential"
        identity = {"methods": [method], method: {"id": credential[0], "secret": credential[1]}}
        response = self.client.post(f"{URL}/auth/tokens", json={"auth": {"identity": identity}})
        response.raise_for_status()
        return str(response.headers["X-Subject-Token"])
