"""Who asks for what: callers with a token and a project each, and the requests that they send."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

CALLERS = 1000
IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
ETAG = '"9b2cf535f27731c974343645a3985328"'
COUNTER = "{counter}"
"""In a request's target: another number each time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of the API: the token that they show and the project that it is for."""

    token: str
    project: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it is written to the wire."""

    target: str
    token: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """Every header but Host."""
        return {"X-Auth-Token": self.token, "Accept": "application/json", **self.headers}

    def head(self, port: int) -> str:
        """Return the bytes of the request's head, for a server on ``port``."""
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in self.all_headers.items()]
        return "\r\n".join([*lines, "", ""])


def caller(number: int) -> Caller:
    """Return the caller of that number, always the same."""
    return Caller(_hex(f"token-{number}"), _hex(f"project-{number}"))


def item(asking: Caller, key: str) -> str:
    """Return the path of a metadata item of an image, in the asking caller's project."""
    return f"/v2.1/{asking.project}/images/{IMAGE}/metadata/{key}"


def read(number: int = 0, key: str = "label", headers: Mapping[str, str] | None = None) -> Request:
    """Return caller ``number``'s read of a metadata item, which proxies may answer from memory."""
    asking = caller(number)
    return Request(item(asking, key), asking.token, headers=headers or {})


def server_read() -> Request:
    """Return a read of something that no proxy stores, with a number of its own each time."""
    asking = caller(0)
    return Request(f"/v2.1/{asking.project}/servers/{COUNTER}", asking.token)


def poll() -> Request:
    """Return a read of something that no proxy stores, as clients send it again and again."""
    asking = caller(0)
    return Request(f"/v2.1/{asking.project}/servers/{IMAGE}", asking.token)


def image_list() -> Request:
    """Return the request of which the limits allow one an hour."""
    asking = caller(0)
    return Request(f"/v2.1/{asking.project}/images/detail", asking.token)


def stranger_read() -> Request:
    """Return a read with a token that identity does not know."""
    return Request(item(caller(0), "label"), _hex("stranger"))


def file_target() -> str:
    """Return the path under which the upstream takes and gives large bodies."""
    return f"/v2.1/{caller(0).project}/images/{IMAGE}/file"


def _hex(name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, name).hex
