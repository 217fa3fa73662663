"""The operator's page: files of this package, read once, served with a validator."""

from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

INDEX = "index.html"


class Asset(NamedTuple):
    """One file of the page."""

    body: bytes
    media_type: str
    etag: str


def routes() -> list[Route]:
    """Return ``/`` and the files that it names, under ``/page/``."""
    assets = load()

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params.get("name", INDEX))
        if found is None:
            return Response(status_code=404)
        # Asked about every time: after an upgrade the files must fit each other and the interface.
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.body, media_type=found.media_type, headers=headers)

    return [Route("/", asset), Route("/page/{name}", asset)]


def load() -> dict[str, Asset]:
    """Return every file of the page by name."""
    assets = {}
    for file in files("metaproxy.admin").joinpath("page").iterdir():
        media_type = MEDIA_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            body = file.read_bytes()
            assets[file.name] = Asset(body, media_type, f'"{sha256(body).hexdigest()[:32]}"')
    return assets
