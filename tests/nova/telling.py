"""A filter behind Nova's keystonecontext: response headers say what has arrived at Nova."""

import json
from collections.abc import Callable, Iterable
from typing import Any

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def filter_factory(_global_conf: dict[str, str]) -> Callable[[App], App]:
    """PasteDeploy's ``paste.filter_factory``."""

    def tell(app: App) -> App:
        def telling(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            context = environ["nova.context"]
            catalog = json.loads(environ["HTTP_X_SERVICE_CATALOG"])
            told = [
                ("X-Told-User", context.user_id),
                ("X-Told-Project", context.project_id),
                ("X-Told-Roles", ",".join(sorted(context.roles))),
                ("X-Told-Catalog", ",".join(service["type"] for service in catalog)),
            ]

            def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                return start_response(status, [*headers, *told], *rest)

            return app(environ, started)

        return telling

    return tell
