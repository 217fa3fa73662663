"""metaproxy: the layer in front of an OpenStack-style compute API.

Build on the names in ``__all__``; everything else may move. Each stage is ASGI middleware with
plain keyword arguments, usable alone around any application; ``create_app(load_config(path))`` is the
whole line. A name is imported when it is first used, so that ``import metaproxy`` costs nothing and one
stage alone brings neither the configuration nor the server along.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from metaproxy.version import __version__

if TYPE_CHECKING:
    from metaproxy.app import Application, create_app
    from metaproxy.cache.settings import CacheRoute
    from metaproxy.config import Config, ConfigError, load_config
    from metaproxy.exchange import Exchange, Identity, exchange_of
    from metaproxy.filters.authenticate import Authenticate
    from metaproxy.filters.authorize import Authorize
    from metaproxy.filters.cache import MetadataCache
    from metaproxy.filters.concurrency import ConcurrencyLimit
    from metaproxy.filters.cors import Cors
    from metaproxy.filters.edit_headers import EditHeaders
    from metaproxy.filters.guard import Guard
    from metaproxy.filters.limit import RateLimit
    from metaproxy.filters.limits_endpoint import LimitsEndpoint
    from metaproxy.filters.metadata_items import MetadataItemLimit
    from metaproxy.filters.rates import Rates
    from metaproxy.filters.request_body import RequestBodyLimit
    from metaproxy.filters.trace import Trace
    from metaproxy.forward.proxy import Forward
    from metaproxy.forward.transport import UpstreamTransport
    from metaproxy.identity.cached import CachedValidator
    from metaproxy.identity.keystone_v2 import KeystoneV2, PasswordV2
    from metaproxy.identity.keystone_v3 import ApplicationCredential, KeystoneV3, Password
    from metaproxy.identity.rendering import IdentityHeaders
    from metaproxy.identity.static import StaticToken, StaticTokens
    from metaproxy.identity.validator import TokenRejected, TokenValidator
    from metaproxy.protocol.access_rules import AccessRule
    from metaproxy.protocol.faults import Fault
    from metaproxy.protocol.limits.rates import RateRule
    from metaproxy.protocol.limits.settings import Limits
    from metaproxy.protocol.signature import Signature
    from metaproxy.settings.units import Rate

__all__ = [
    "AccessRule",
    "Application",
    "ApplicationCredential",
    "Authenticate",
    "Authorize",
    "CacheRoute",
    "CachedValidator",
    "ConcurrencyLimit",
    "Config",
    "ConfigError",
    "Cors",
    "EditHeaders",
    "Exchange",
    "Fault",
    "Forward",
    "Guard",
    "Identity",
    "IdentityHeaders",
    "KeystoneV2",
    "KeystoneV3",
    "Limits",
    "LimitsEndpoint",
    "MetadataCache",
    "MetadataItemLimit",
    "Password",
    "PasswordV2",
    "Rate",
    "RateLimit",
    "RateRule",
    "Rates",
    "RequestBodyLimit",
    "Signature",
    "StaticToken",
    "StaticTokens",
    "TokenRejected",
    "TokenValidator",
    "Trace",
    "UpstreamTransport",
    "__version__",
    "create_app",
    "exchange_of",
    "load_config",
]

_HOMES: Final = {
    "app": ("Application", "create_app"),
    "cache.settings": ("CacheRoute",),
    "config": ("Config", "ConfigError", "load_config"),
    "exchange": ("Exchange", "Identity", "exchange_of"),
    "filters.authenticate": ("Authenticate",),
    "filters.authorize": ("Authorize",),
    "filters.cache": ("MetadataCache",),
    "filters.concurrency": ("ConcurrencyLimit",),
    "filters.cors": ("Cors",),
    "filters.edit_headers": ("EditHeaders",),
    "filters.guard": ("Guard",),
    "filters.limit": ("RateLimit",),
    "filters.limits_endpoint": ("LimitsEndpoint",),
    "filters.metadata_items": ("MetadataItemLimit",),
    "filters.rates": ("Rates",),
    "filters.request_body": ("RequestBodyLimit",),
    "filters.trace": ("Trace",),
    "forward.proxy": ("Forward",),
    "forward.transport": ("UpstreamTransport",),
    "identity.cached": ("CachedValidator",),
    "identity.keystone_v2": ("KeystoneV2", "PasswordV2"),
    "identity.keystone_v3": ("ApplicationCredential", "KeystoneV3", "Password"),
    "identity.rendering": ("IdentityHeaders",),
    "identity.static": ("StaticToken", "StaticTokens"),
    "identity.validator": ("TokenRejected", "TokenValidator"),
    "protocol.access_rules": ("AccessRule",),
    "protocol.faults": ("Fault",),
    "protocol.limits.rates": ("RateRule",),
    "protocol.limits.settings": ("Limits",),
    "protocol.signature": ("Signature",),
    "settings.units": ("Rate",),
}
"""The home of each name, below this package; the imports above say the same to type checkers."""

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for a good one

    def __getattr__(name: str) -> object:
        """Import a public name on its first use (PEP 562)."""
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
