"""The admin application: one list of routes, behind two checks of who asks."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from metaproxy.admin import (
    cache,
    config,
    health,
    limits,
    logging,
    metrics,
    operator_page,
    reload,
    status,
    tokens,
)
from metaproxy.admin.access import BearerToken
from metaproxy.admin.openapi import document
from metaproxy.admin.operation import Operation
from metaproxy.admin.origin import SameOrigin
from metaproxy.admin.service import Service


def create_admin(service: Service) -> ASGIApp:
    """Return the ASGI application of the admin listener for ``service``."""
    declared = operations(service)
    app: ASGIApp = Starlette(
        routes=[
            *operator_page.routes(),
            *health.routes(service),
            *metrics.routes(service),
            _openapi(declared),
            *(operation.route() for operation in declared),
        ]
    )

    def token() -> str:
        secret = service.application.config.admin.token
        return secret.get_secret_value() if secret else ""

    names = [address.host for address in service.application.config.admin.listen]
    return SameOrigin(BearerToken(app, token), names, has_token=lambda: bool(token()))


def operations(service: Service) -> list[Operation]:
    """Return every operation on ``service``, in the order in which they are documented."""
    return [
        *status.operations(service),
        *cache.operations(service),
        *limits.operations(service),
        *tokens.operations(service),
        *config.operations(service),
        *reload.operations(service),
        *logging.operations(),
    ]


def _openapi(declared: list[Operation]) -> Route:
    written = document(declared)

    async def openapi(_: Request) -> Response:
        return JSONResponse(written)

    return Route("/openapi.json", openapi)
