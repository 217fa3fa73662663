"""The stages inside other frameworks; each is asked for by name, so that none need be installed."""

from collections.abc import Callable
from typing import Any

import pytest

from metaproxy import (
    Authenticate,
    CacheRoute,
    Identity,
    MetadataCache,
    Rate,
    RateLimit,
    RateRule,
    StaticToken,
    StaticTokens,
)
from tests.asgi_driver import Application, drive

pytestmark = pytest.mark.frameworks

PATH = "/images/70a599e0/metadata/label"
ALICE = [("X-Auth-Token", "alice-token"), ("Host", "api")]
Asked = list[str]


def line(app: Any) -> Application:
    """Return ``app`` behind the three stages."""
    identity = Identity(user_id="u1", project_id="p1", roles=("member",))
    known = StaticTokens([StaticToken(token="alice-token", identity=identity)])
    app = MetadataCache(app, routes=[CacheRoute(path="/images/{image_id}/metadata/{key}", ttl=60)])
    app = RateLimit(app, rules=[RateRule(name="reads", rate=Rate(3, "minute"))])
    return Authenticate(app, validator=known)


def fastapi(asked: Asked) -> Any:
    app = pytest.importorskip("fastapi").FastAPI()

    @app.get("/images/{image_id}/metadata/{key}")  # type: ignore[untyped-decorator]  # asked for by name
    async def item(key: str) -> dict[str, Any]:
        asked.append(key)
        return {"meta": {key: "Updated"}}

    return app


def litestar(asked: Asked) -> Any:
    framework = pytest.importorskip("litestar")

    async def item(request: Any) -> dict[str, Any]:
        asked.append(request.path_params["key"])
        return {"meta": {request.path_params["key"]: "Updated"}}

    item.__annotations__["request"] = framework.Request  # Litestar hands over what annotations ask for
    handler = framework.get("/images/{image_id:str}/metadata/{key:str}")(item)
    return framework.Litestar([handler], openapi_config=None)


def quart(asked: Asked) -> Any:
    app = pytest.importorskip("quart").Quart("compute")

    @app.get("/images/<image_id>/metadata/<key>")  # type: ignore[untyped-decorator]  # as above
    async def item(image_id: str, key: str) -> dict[str, Any]:
        asked.append(key)
        return {"meta": {key: "Updated"}}

    return app


@pytest.mark.parametrize("framework", [fastapi, litestar, quart])
async def test_a_framework_works_behind_the_stages(framework: Callable[[Asked], Any]) -> None:
    asked: Asked = []
    app = line(framework(asked))
    assert (await drive(app, "GET", PATH)).status == 401
    answers = [await drive(app, "GET", PATH, ALICE) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 413]
    assert b"Updated" in answers[1].body
    assert asked == ["label"]
