"""The options of every identity provider that checks tokens."""

from typing import Annotated, Literal

from metaproxy.protocol.identity_headers import Family
from metaproxy.protocol.option_values import Template
from metaproxy.settings.section import Section
from metaproxy.settings.units import Size
from metaproxy.settings.urls import Url
from metaproxy.settings.values import BlankIsNone


class Tokens(Section):
    """The options of every provider that checks tokens."""

    advertise: Annotated[Url | None, BlankIsNone] = None
    """The identity URL that WWW-Authenticate names to clients; null names url, where there is one."""
    anonymous: tuple[Template, ...] = ("/", "/v2", "/v2/", "/v2.1", "/v2.1/", "/healthcheck")
    """Path templates that need no token; one that says which resource it is for opens all its names."""
    anonymous_exact: bool = False
    """True if anonymous opens only the versions and forms of paths that are written there."""
    on_missing: Literal["reject", "delegate", "delegate-always"] = "reject"
    """Without a valid token: 401, or forward as X-Identity-Status: Invalid (-always: in outages too)."""
    max_token_bytes: Size = 16384
    """Longer tokens are refused without asking: 401, token_too_long."""
    headers: tuple[Family, ...] = ("openstack", "repose")
    """Which families of identity headers the upstream gets."""
