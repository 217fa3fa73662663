from pathlib import Path

from tests.asgi_driver import drive
from tests.unit.admin.operated import Operated, told


async def status(operated: Operated) -> dict[str, object]:
    answer: dict[str, object] = told(await operated.get("/status"))
    return answer


async def test_it_tells_requests_by_outcome_and_why_they_were_refused(tmp_path: Path) -> None:
    operated = Operated(tmp_path)
    await drive(operated.application, "GET", "/v2.1/t1/images", [("host", "api")])

    now = await status(operated)

    assert now["requests"] == {"refused": 1}
    assert now["refusals"] == {"token_missing": 1}
    bounds, latency = now["latency_bounds"], now["latency"]
    assert isinstance(bounds, list)
    assert isinstance(latency, dict)
    assert len(latency["refused"]["counts"]) == len(bounds) + 1
    assert sum(latency["refused"]["counts"]) == 1


async def test_it_tells_what_the_proxy_depends_on(tmp_path: Path) -> None:
    now = await status(Operated(tmp_path))

    assert now["upstream"] == [
        {"name": "http://127.0.0.1:9", "healthy": True, "breaker": "closed", "active_requests": 0}
    ]
    identity = now["identity"]
    assert isinstance(identity, dict)
    assert (identity["provider"], identity["available"]) == ("static", True)
    assert now["store"] == {"shared": False, "available": True}


async def test_without_identity_and_cache_it_says_so(tmp_path: Path) -> None:
    now = await status(Operated(tmp_path, "identity: {provider: none}"))

    assert (now["identity"], now["cache"]) == (None, None)
