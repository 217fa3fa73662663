"""Between the environ of WSGI and the scope of ASGI, both ways.

Facts this file rests on (PEP 3333; the ASGI specification). PATH_INFO is percent-decoded, its bytes
written as latin-1, so an escaped slash cannot be told from a real one; servers tell the bytes of the
request line as RAW_URI or REQUEST_URI, which is stale where something in front has rewritten the path.
Header fields are HTTP_ variables in which ``-`` and ``_`` are the same: whatever a client sent under an
identity header's name, in either spelling, is found under one name and taken off.
"""

from collections.abc import Iterator
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes, urlsplit

from starlette.types import Scope

from metaproxy.exchange import SCOPE_KEY
from metaproxy.protocol.headers import Header
from metaproxy.wsgi.types import Environ

ENVIRON = "metaproxy.environ"
"""The key of the scope under which the environ of the request is found again."""

UNPREFIXED = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


def scope_of(environ: Environ) -> Scope:
    """Return the ASGI scope of a request that a WSGI server has read."""
    root_path = environ.get("SCRIPT_NAME", "").encode("latin-1")
    path = root_path + environ.get("PATH_INFO", "").encode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        # A path that is not UTF-8 is refused by its raw path; here it must be text that can be logged.
        "path": path.decode("utf-8", "replace"),
        "raw_path": _raw_path(environ, path),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root_path.decode("utf-8", "replace"),
        "headers": list(_headers(environ)),
        "client": (environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0)),
        "server": (environ.get("SERVER_NAME", ""), int(environ.get("SERVER_PORT") or 0)),
        ENVIRON: environ,
    }


def environ_of(scope: Scope) -> Environ:
    """Return the environ for the application behind: what the server told, with the line's changes.

    Whatever the line has taken off the header fields is in no variable either.
    """
    root_path: str = scope["root_path"]
    environ = {
        name: value
        for name, value in scope[ENVIRON].items()
        if not name.startswith("HTTP_") and name not in UNPREFIXED
    }
    environ |= {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _as_latin(root_path),
        "PATH_INFO": _as_latin(_sent_path(scope).removeprefix(root_path)),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
    }
    for name, value in scope["headers"]:
        _add(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _sent_path(scope: Scope) -> str:
    """The path with the prefix that the line has taken off, because WSGI tells an application its own."""
    exchange, path = scope.get(SCOPE_KEY), str(scope["path"])
    if exchange is None or not exchange.mount:
        return path
    return unquote(exchange.mount.decode("ascii")) + path if path != "/" else str(exchange.sent_path)


def _headers(environ: Environ) -> Iterator[Header]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            field = name[5:].replace("_", "-").lower().encode("latin-1")
            # A field with a variable of its own is read from there: never twice, never two values.
            if field not in UNPREFIXED.values():
                yield field, value.encode("latin-1")
        elif name in UNPREFIXED and value:
            yield UNPREFIXED[name], value.encode("latin-1")


def _raw_path(environ: Environ, path: bytes) -> bytes:
    told = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw = told if told.startswith("/") else urlsplit(told).path
    found: bytes = raw.partition("?")[0].encode("latin-1")
    if found and unquote_to_bytes(found) == path:
        return found
    return quote_from_bytes(path, safe="/:@!$&'()*+,;=~").encode("ascii")


def _add(environ: Environ, name: str, value: str) -> None:
    variable = name.upper().replace("-", "_")
    if variable not in UNPREFIXED:
        variable = f"HTTP_{variable}"
    if variable in environ:
        value = f"{environ[variable]}{'; ' if name == 'cookie' else ','}{value}"
    environ[variable] = value


def _as_latin(path: str) -> str:
    return path.encode("utf-8").decode("latin-1")
