"""URLs of the servers that metaproxy calls."""

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator

from metaproxy.settings.written import Written


def parse_url(value: object) -> str:
    """Return an http:// or https:// URL without its last slash; raises ValueError."""
    text = value if isinstance(value, str) else ""
    parts = split_http(text, "a URL starts with http:// or https:// and names a host")
    if parts.query or parts.fragment:
        raise ValueError("a URL without '?' and '#' is expected")
    return text.rstrip("/")


def split_http(text: str, shape: str) -> SplitResult:
    """Return the parts of an http:// or https:// URL; raises ValueError with ``shape``."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(shape) from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError(shape)
    if parts.port == 0:
        raise ValueError("port 0 cannot be connected to")
    if "@" in parts.netloc:
        raise ValueError("a user or password may not stand in a URL")
    return parts


def as_list(value: object) -> object:
    """Return one value as a list of it; a list as it is."""
    return value if isinstance(value, list | tuple) else [value]


Url = Annotated[str, Written("url", parse_url, str, r"https?://.+", "https://keystone.example/v3")]
Urls = Annotated[tuple[Url, ...], BeforeValidator(as_list, json_schema_input_type=Url | list[Url])]
