"""A WSGI application and a configuration for it: what the tests of the filter share."""

import json
from collections.abc import Iterator
from pathlib import Path

from metaproxy.wsgi.types import Environ, StartResponse

ITEM = "/v2.1/p1/images/70a599e0-31e7-49b7-b260-868f441e862b/metadata/label"
ALICE = {"X-Auth-Token": "alice-token"}
CONFIG = """\
identity:
  provider: static
  tokens:
    - {token: alice-token, user: {id: u1, name: alice}, project: {id: p1, name: one}, roles: [member]}
limits:
  absolute: {request_body: 64MiB}
  rates:
    - {name: deletes, methods: [DELETE], per: [project], rate: 1/minute}
cache:
  routes:
    - {path: "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}", ttl: 60s}
admin: {listen: []}
logging: {access: false}
"""

CHUNKS, CHUNK = 64, b"x" * 16384


def write_config(folder: Path, text: str = CONFIG) -> Path:
    """Write the configuration into ``folder``; return its path."""
    file = folder / "metaproxy.yaml"
    file.write_text(text)
    return file


class ComputeAPI:
    """Tells what it got, counts its answers, streams, echoes and fails, by the path."""

    def __init__(self) -> None:
        self.answers = 0
        self.closed = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """The WSGI interface."""
        self.answers += 1
        name = environ["PATH_INFO"].rpartition("/")[2]
        respond = getattr(self, f"_{name}", self._tell)
        try:
            yield from respond(environ, start_response)
        finally:
            self.closed += 1

    def _tell(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("X-Answers", str(self.answers))])
        texts = {name: value for name, value in environ.items() if isinstance(value, str)}
        yield json.dumps(texts).encode()

    def _stream(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        for _ in range(CHUNKS):
            yield CHUNK

    def _echo(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("201 Created", [("Content-Type", "application/octet-stream")])
        while chunk := environ["wsgi.input"].read(4096):
            yield chunk

    def _written(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"written, ")
        yield b"yielded"

    def _broken(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        yield from self._failing()

    def _failing(self) -> Iterator[bytes]:
        raise RuntimeError("a defect of the application")

    def _torn(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
        yield b"half"
        raise RuntimeError("a defect of the application")


def factory(global_conf: object, **settings: str) -> ComputeAPI:
    """Return the application (``paste.app_factory``)."""
    return ComputeAPI()
