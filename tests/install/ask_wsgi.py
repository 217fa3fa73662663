"""Asks the WSGI filter, once by itself and once by each entry point of PasteDeploy; prints each status."""

import sys
from importlib.metadata import entry_points
from typing import Any
from wsgiref.util import setup_testing_defaults

from metaproxy.wsgi import Filter


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def ask(app: Any, path: str = "/v2.1/images") -> str:
    environ: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    answer = app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return statuses[0]


config = sys.argv[1]
(filters,) = entry_points(group="paste.filter_factory", name="main")
(apps,) = entry_points(group="paste.app_factory", name="main")
print("filter", ask(Filter(application, config)))
print("filter_factory", ask(filters.load()({"here": "/"}, config)(application)))
print("app_factory", ask(apps.load()({"here": "/"}, config)))
