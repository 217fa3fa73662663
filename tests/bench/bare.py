"""Bare uvicorn: an ASGI application that checks nothing and answers what a hit answers.

It shows what the server alone costs. ``python -m tests.bench.bare PORT`` runs it.
"""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.bench.population import ETAG
from tests.bench.upstream import ITEM

HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(ITEM)),
    (b"openstack-api-version", b"compute 2.1"),
    (b"vary", b"OpenStack-API-Version, X-OpenStack-Nova-API-Version"),
    (b"etag", ETAG.encode()),
    (b"cache-status", b"bare; hit"),
    (b"via", b"1.1 bare"),
    (b"x-compute-request-id", b"req-0f7c0e14-9a4a-4a59-9d3f-8a2d6b4a1c11"),
]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request with the item."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ITEM, "more_body": False})


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), lifespan="off", log_level="warning", access_log=False)
