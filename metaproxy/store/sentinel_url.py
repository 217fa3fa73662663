"""The URL of a store behind Redis Sentinel.

    redis+sentinel://user:password@host1:26379,host2:26379/service/0?sentinel_password=secret

Facts this file rests on. No standard says how it is written. This form is that of most Python packages that
have one (redis-sentinel-url, pydocket, redisvl): the addresses are those of the sentinels, user and
password those of the servers that hold the data. Sentinels have credentials of their own, in the query:
``sentinel_username`` and ``sentinel_password``. With ``rediss+sentinel`` both are asked over TLS, with the
same files.
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

SENTINEL_PORT = 26379

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]:,@/?#]+)"
_ADDRESS = rf"{_HOST}(?::[0-9]{{1,5}})?"
_URL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://"
    r"(?:(?P<credentials>[^\s@/?#\[\]]*)@)?"
    rf"(?P<addresses>{_ADDRESS}(?:,{_ADDRESS})*)"
    r"/(?P<service>[^\s/?#]+)(?:/(?P<database>[0-9]*))?"
    r"(?:\?(?P<query>[^\s#]*))?"
)
_OWN = ("sentinel_username", "sentinel_password")
_TLS = "ssl_"


class Sentinel(NamedTuple):
    """The address of one sentinel."""

    host: str
    port: int


class SentinelUrl(NamedTuple):
    """The URL, in parts. ``credentials`` are as they are written, with the colon between them."""

    scheme: str
    credentials: str
    sentinels: tuple[Sentinel, ...]
    service: str
    database: str
    query: tuple[tuple[str, str], ...]

    def of_server(self, host: str, port: int) -> str:
        """Return the URL of the server at ``host`` and ``port``, as redis-py reads it."""
        options = [(name, value) for name, value in self.query if name not in _OWN]
        login = f"{self.credentials}@" if self.credentials else ""
        return f"{self.scheme}://{login}{_host(host)}:{port}/{self.database}{_query(options)}"

    def of_sentinel(self, sentinel: Sentinel) -> str:
        """Return the URL of ``sentinel``, as redis-py reads it."""
        options = [(name, value) for name, value in self.query if name.startswith(_TLS)]
        own = dict(self.query)
        user, password = (quote(own.get(name, ""), safe="") for name in _OWN)
        login = f"{user}:{password}@" if user or password else ""
        return f"{self.scheme}://{login}{_host(sentinel.host)}:{sentinel.port}/{_query(options)}"


def is_sentinel_url(url: str) -> bool:
    """Return True if ``url`` has the scheme of a store behind Sentinel."""
    return url.startswith(("redis+sentinel:", "rediss+sentinel:"))


def parse_sentinel_url(url: str) -> SentinelUrl:
    """Return the parts of ``url``. Raises ValueError, without quoting it, because it may hold a password."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("not redis+sentinel://user:password@host1:26379,host2:26379/service/0")
    sentinels = tuple(map(_sentinel, found["addresses"].split(",")))
    if not all(0 < sentinel.port < 65536 for sentinel in sentinels):
        raise ValueError("the port of a sentinel is a number from 1 to 65535")
    query = tuple(parse_qsl(found["query"] or "", keep_blank_values=True))
    return SentinelUrl(
        found["scheme"],
        found["credentials"] or "",
        sentinels,
        unquote(found["service"]),
        found["database"] or "0",
        query,
    )


def _sentinel(address: str) -> Sentinel:
    host, _, port = address.rpartition(":") if re.search(r":[0-9]+$", address) else (address, "", "")
    if address.endswith("]"):
        host, port = address, ""
    return Sentinel(host.strip("[]"), int(port) if port else SENTINEL_PORT)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _query(options: list[tuple[str, str]]) -> str:
    return f"?{urlencode(options)}" if options else ""
