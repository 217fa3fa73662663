"""The admin application: one list of routes, behind one check of access."""

from starlette.applications import Starlette
from starlette.types import ASGIApp

from metaproxy.admin import health, metrics
from metaproxy.admin.access import BearerToken
from metaproxy.app import Application


def create_admin(application: Application) -> ASGIApp:
    """Return the ASGI application of the admin listener for ``application``."""
    token = application.config.admin.token
    routes = [*health.routes(application), *metrics.routes(application)]
    return BearerToken(Starlette(routes=routes), token.get_secret_value() if token else "")
