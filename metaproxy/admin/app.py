"""The admin application: one list of routes, behind two checks of who asks."""

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from metaproxy.admin import (
    cache,
    config,
    health,
    limits,
    metrics,
    operator_page,
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
        ],
        exception_handlers={HTTPException: _in_json, HTTPStatus.INTERNAL_SERVER_ERROR: _in_json},
    )

    def token() -> str:
        secret = service.application.config.admin.token
        return secret.get_secret_value() if secret else ""

    def public_metrics() -> bool:
        return service.application.config.admin.public_metrics

    names = [address.host for address in service.application.config.admin.listen]
    return SameOrigin(BearerToken(app, token, public_metrics), names, has_token=lambda: bool(token()))


def operations(service: Service) -> list[Operation]:
    """Return every operation on ``service``, in the order in which they are documented."""
    return [
        *status.operations(service),
        *cache.operations(service),
        *limits.operations(service),
        *tokens.operations(service),
        *config.operations(service),
    ]


async def _in_json(request: Request, error: Exception) -> Response:
    """Answer a path or method that does not exist, and a defect, as operations are answered."""
    if not isinstance(error, HTTPException):
        return JSONResponse({"error": "the admin listener failed"}, 500)
    words = {404: f"there is nothing at {request.url.path}; /openapi.json lists what there is"}
    words[405] = f"{request.method} is not a method of {request.url.path}"
    return JSONResponse(
        {"error": words.get(error.status_code, error.detail)}, error.status_code, error.headers
    )


def _openapi(declared: list[Operation]) -> Route:
    written = document(declared)

    async def openapi(_: Request) -> Response:
        return JSONResponse(written)

    return Route("/openapi.json", openapi)
