"""The sections about what metaproxy shares and what it tells: store, logging, tracing."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, SecretStr

from metaproxy.settings.section import Section
from metaproxy.settings.units import PositiveDuration
from metaproxy.settings.urls import Url
from metaproxy.settings.values import NO_BOOLEAN, REDACTED, BlankIsNone
from metaproxy.settings.written import text_of
from metaproxy.store.sentinel_url import is_sentinel_url, parse_sentinel_url


def _redis_url(value: SecretStr) -> SecretStr:
    if is_sentinel_url(value.get_secret_value()):
        return _sentinel_url(value)
    if not re.fullmatch(r"(rediss?://[^\s/]+(/[0-9]*)?|unix:///[^\s]+)(\?[^\s]*)?", value.get_secret_value()):
        raise ValueError(
            "the store is redis://host:port/0, rediss://host:port/0 or unix:///path, behind Sentinel "
            "redis+sentinel:// or rediss+sentinel://host1:26379,host2:26379/service/0, and no Redis Cluster"
        )
    if not _is_read_whole(value.get_secret_value()):
        raise ValueError(
            "the store is redis://user:password@host:port/0; in a password '#', '?', '/', '[' and '%' "
            "are written '%23', '%3F', '%2F', '%5B' and '%25'"
        )
    return value


def _sentinel_url(value: SecretStr) -> SecretStr:
    try:
        url = parse_sentinel_url(value.get_secret_value())
        servers = [url.of_server("host", 1), *map(url.of_sentinel, url.sentinels)]
    except ValueError:
        servers = [""]
    if not all(map(_is_read_whole, servers)):
        raise ValueError(
            "the store behind Sentinel is redis+sentinel://user:password@host1:26379,host2:26379/service/0; "
            "in a password '#', '?', '/', '[', '@' and '%' are written '%23', '%3F', '%2F', '%5B', '%40' and "
            "'%25'"
        )
    return value


def _without_password(value: SecretStr | None) -> str | None:
    if value is None:
        return None
    url = re.sub(r"//[^/]*@", f"//{REDACTED}@", value.get_secret_value())
    return re.sub(r"(password=)[^&]*", rf"\1{REDACTED}", url)


def _is_read_whole(url: str) -> bool:
    """Return True if redis-py, which reads as urllib does, finds host and port, no password behind them.

    The message of urllib about a wrong port quotes it, and it may be half a password.
    """
    try:
        parts = urlsplit(url)
        has_host = parts.scheme == "unix" or bool(parts.hostname and parts.port != 0)
    except ValueError:
        return False
    return has_host and not parts.fragment and "@" not in parts.query


StoreUrl = Annotated[SecretStr, AfterValidator(_redis_url)]

KeyPrefix = Annotated[
    str, text_of("text", r"[!-~]{0,64}", "a prefix has no spaces, and at most 64 characters", "metaproxy:")
]


TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Store(Section):
    """The state that replicas share: rates, purges, revocations and a second cache level."""

    url: Annotated[
        StoreUrl | None, BlankIsNone, PlainSerializer(_without_password, return_type=str | None)
    ] = None
    """redis://user:password@host:port/0, rediss:// or unix:///path, of one primary; null shares nothing.

    Behind Sentinel: redis+sentinel://user:password@host1:26379,host2:26379/service/0, rediss+sentinel:// with
    TLS to both; sentinels take ?sentinel_username= and ?sentinel_password=. Of TLS, ?ssl_ca_certs= is a file
    of authorities, ?ssl_certfile= and ?ssl_keyfile= are the client's. Redis Cluster is not supported.
    """
    timeout: PositiveDuration = 0.05
    """The most that one call may cost a request.

    Connections are opened in the background: to ask the sentinels, and then to connect and log in, may take
    3 seconds each, or this time if it is longer.
    """
    prefix: KeyPrefix = "metaproxy:"
    """The prefix of every key in the store, so that several proxies may use one."""

    def files(self) -> tuple[Path, ...]:
        """Return the TLS files that the URL names in its query, as redis-py reads it."""
        if self.url is None:
            return ()
        query = parse_qs(self.url.get_secret_value().partition("?")[2])
        return tuple(Path(path) for key in TLS_FILES for path in query.get(key, ()))


class Logging(Section):
    """The access log, on standard output, and the event log, on standard error.

    A reader that is slow or gone, or a full disk, costs lines and never requests; lost lines are counted.
    """

    format: Literal["json", "console"] = "json"
    """json for machines, console for eyes; of both logs."""
    access: bool = True
    """True if requests get a line in the access log."""
    access_sample: Annotated[float, NO_BOOLEAN, Field(ge=0, le=1)] = 1.0
    """The share of requests answered below 400 that get one: 0 to 1; every other request does."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level of events that is written."""


class Tracing(Section):
    """Spans for OpenTelemetry; needs the extra otel."""

    otlp_endpoint: Annotated[Url | None, BlankIsNone] = None
    """The collector that spans are sent to (OTLP over HTTP): http://collector:4318; null sends none."""
    sample: Annotated[float, NO_BOOLEAN, Field(ge=0, le=1)] = 0.01
    """The share of requests that get a trace where the client has not decided: 0 to 1."""
