"""Whether the process is alive, and whether it should get requests."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metaproxy.app import Application


def routes(application: Application) -> list[Route]:
    """Return ``/healthz`` (alive) and ``/readyz`` (ready, with the reasons in JSON)."""

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        checks = application.readiness()
        is_ready = all(check.well for check in checks.values())
        body = {
            "status": "ready" if is_ready else "not ready",
            "checks": {name: {"well": check.well, "says": check.says} for name, check in checks.items()},
        }
        return JSONResponse(body, 200 if is_ready else 503)

    return [Route("/healthz", alive), Route("/readyz", ready)]
