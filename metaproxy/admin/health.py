"""Health: is the process alive, and may it be given requests?

Probes are simple clients: load balancers ask with HTTP/1.0 and without Host, with HEAD or OPTIONS, and
without a credential. They get the verdict. The reasons are for callers that may see what is behind the
token.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metaproxy.admin.access import ADMITTED
from metaproxy.admin.service import Service
from metaproxy.assembly.readiness import Check, degraded, is_ready

METHODS = ("GET", "HEAD", "OPTIONS")
ALIVE = b'{"status":"alive"}'


def routes(service: Service) -> list[Route]:
    """Return ``/healthz`` (alive) and ``/readyz`` (ready; with the reasons, for who may see them)."""

    async def alive(_: Request) -> Response:
        return Response(ALIVE, media_type="application/json", headers={"cache-control": "no-store"})

    async def ready(request: Request) -> Response:
        checks = readiness(service)
        ready = is_ready(checks)
        body: dict[str, Any] = {"status": "ready" if ready else "not ready"}
        if request.scope.get(ADMITTED, False):
            body["degraded"] = degraded(checks)
            body["checks"] = {
                name: {"well": check.well, "says": check.says} for name, check in checks.items()
            }
        return JSONResponse(body, 200 if ready else 503, headers={"cache-control": "no-store"})

    return [
        Route(path + slash, endpoint, methods=METHODS)
        for path, endpoint in (("/healthz", alive), ("/readyz", ready))
        for slash in ("", "/")
    ]


def readiness(service: Service) -> dict[str, Check]:
    """Return every reason to be ready or not, and to be degraded or not, by name.

    A configuration file that was refused leaves the process ready, because the configuration before is in
    use, and every replica reads the same file. The process is degraded, because a restart would fail.
    """
    state = service.state
    says = f"generation {state.generation} of {state.path}"
    if state.problems:
        says += f"; the file as it is now was refused: {'; '.join(state.problems)}"
    elif state.needs_restart:
        says += f"; a restart is needed for {', '.join(state.needs_restart)}"
    return service.application.readiness() | {"config": Check(well=not state.problems, says=says)}
