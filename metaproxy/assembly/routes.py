"""The templates that name a request's route in metrics and log: known operations, and the configured."""

from collections.abc import Iterable

from metaproxy.config.model import Config
from metaproxy.protocol.compute_api import OPERATIONS, known_operations
from metaproxy.protocol.routes import RouteTable


def operation_routes(config: Config) -> RouteTable[object]:
    """Return the table by which stage 1 names routes. Its templates bound the labels of the metrics."""
    table: RouteTable[object] = RouteTable()
    for template in dict.fromkeys((*known_operations().templates, *_configured(config))):
        table.add(template, None)
    return table


def known_templates(config: Config) -> tuple[str, ...]:
    """Return every template by which a path is matched, those of tenants and of the prefix included.

    Each speaks for all names of its resource (``protocol.resource_table``).
    """
    prefix = config.upstream.strip_prefix
    mounted = [f"{prefix}/**"] if prefix else []
    operations = [template for template, _ in OPERATIONS]
    return (*operations, *_configured(config), *config.authorization.tenant_paths, *mounted)


def _configured(config: Config) -> Iterable[str]:
    for route in config.cache.routes:
        yield route.path
    for rule in config.authorization.rules:
        yield rule.path
    for rate in config.limits.rates:
        if rate.path:
            yield rate.path
    if config.limits.endpoint:
        yield config.limits.endpoint
