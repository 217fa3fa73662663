"""The whole configuration as types: a class per mapping of the YAML file, a file per part of it.

Each option is stated once: its default is the field's, its documentation the docstring below the
field. JSON Schema, key reference and error messages come from here.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import PrivateAttr

from metaproxy.cache.settings import Cache
from metaproxy.config.files import Files
from metaproxy.config.model.identity import IdentityProvider
from metaproxy.config.model.operations import Logging, Store, Tracing
from metaproxy.config.model.rules import cross_findings
from metaproxy.config.model.server import Admin, Server, Via
from metaproxy.config.model.upstream import Upstream
from metaproxy.protocol.access_rules import Authorization
from metaproxy.protocol.cross_origin import CorsSettings
from metaproxy.protocol.header_edits import HeaderSettings
from metaproxy.protocol.limits.settings import Limits
from metaproxy.settings.section import Finding, Section
from metaproxy.settings.values import FILES
from metaproxy.settings.written import text_of

GuardName = Annotated[
    str,
    text_of(
        "guard",
        r"[A-Za-z0-9._/-]{1,200}",
        "the name of a guard has letters, digits, '.', '_', '/' and '-'",
        "regex-rbac",
    ),
]


class Imported(Section):
    """The parts that an import from another proxy could not convert."""

    not_converted: tuple[GuardName, ...] = ()
    """Guards without an equivalent in this file: it starts only once none is named here."""

    def findings(self) -> Iterator[Finding]:
        """Nothing is missing."""
        for index, guard in enumerate(self.not_converted):
            yield (
                ("not_converted", index),
                f"{guard} may have refused requests, and was not converted: write what does its work, then "
                "take its name out",
            )


class Config(Section):
    """The configuration of one metaproxy."""

    server: Server
    """The listener for clients."""
    admin: Admin = Admin()
    """The operator's own listener: health, metrics, cache, limits, configuration and a page."""
    via: Via = Via()
    """The Via field of requests and responses (RFC 9110 §7.6.3)."""
    headers: HeaderSettings = HeaderSettings()
    """Header fields that are taken off, replaced or added."""
    cors: CorsSettings = CorsSettings()
    """Which pages in browsers may read answers (CORS)."""
    upstream: Upstream
    """The compute API."""
    identity: IdentityProvider
    """The provider that checks tokens; provider: none switches it off, and has to be written out."""
    authorization: Authorization = Authorization()
    """Access rules and the tenant check."""
    limits: Limits = Limits()
    """How much a consumer may ask for."""
    cache: Cache = Cache()
    """Answers that are given from memory."""
    store: Store = Store()
    """The state that replicas share: rates, purges, revocations and a second cache level."""
    logging: Logging = Logging()
    """The access log and the event log."""
    tracing: Tracing = Tracing()
    """Spans for OpenTelemetry; needs the extra otel."""
    imported: Imported = Imported()
    """The parts that an import could not convert: the start is refused while it names anything."""

    _files: Files = PrivateAttr(default_factory=Files)

    def model_post_init(self, context: Any) -> None:
        """Keep the files that the configuration was read from."""
        if context is not None and FILES in context:
            self._files = context[FILES]

    @property
    def files(self) -> Files:
        """The content of every file that the configuration names."""
        return self._files

    def findings(self) -> Iterator[Finding]:
        """Check what the sections need of each other."""
        return cross_findings({name: getattr(self, name) for name in type(self).model_fields})
