"""Whether the process is alive, and whether it should get requests."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metaproxy.admin.access import ADMITTED
from metaproxy.admin.service import Service
from metaproxy.app import Check


def routes(service: Service) -> list[Route]:
    """Return ``/healthz`` (alive) and ``/readyz`` (ready; with the reasons, for who may see them)."""

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        checks = readiness(service)
        is_ready = all(check.well for check in checks.values())
        body: dict[str, Any] = {"status": "ready" if is_ready else "not ready"}
        if request.scope.get(ADMITTED, True):
            body["checks"] = {name: asdict(check) for name, check in checks.items()}
        return JSONResponse(body, 200 if is_ready else 503)

    return [Route("/healthz", alive), Route("/readyz", ready)]


def readiness(service: Service) -> dict[str, Check]:
    """Return every reason to be ready or not, by name.

    A configuration file that was refused is told, but is no reason to get no requests: the one before
    is in use, and every replica reads the same file.
    """
    state = service.state
    says = f"generation {state.generation} of {state.path}"
    if state.problems:
        says += f"; the file as it is now was refused: {'; '.join(state.problems)}"
    elif state.needs_restart:
        says += f"; a restart is needed for {', '.join(state.needs_restart)}"
    return service.application.readiness() | {"config": Check(well=True, says=says)}
