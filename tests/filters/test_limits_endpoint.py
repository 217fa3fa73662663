import json
from collections.abc import Iterable
from typing import Any

from metaproxy.filters.limit import RateLimit
from metaproxy.filters.limits_endpoint import LimitsEndpoint
from metaproxy.filters.rates import Rates
from tests.asgi_driver import Answer, drive
from tests.filters.limiting import EPOCH, FakeClock, Identified, Upstream, body_of, rate

PATH = "/v2.1/{tenant_id}/limits"
NOVA = json.dumps({"limits": {"rate": [], "absolute": {"maxImageMeta": 128, "maxServerMeta": 64}}}).encode()
ALICE = [("x-project", "p1"), ("x-user", "alice")]


class Line:
    """The rate limit and the limits endpoint in front of ``upstream``."""

    def __init__(self, upstream: Any = None, *, absolute: dict[str, int] | None = None) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream(NOVA) if upstream is None else upstream
        images = rate(
            "images", limit=10, path="/v2.1/{tenant_id}/images/**", methods=frozenset({"HEAD", "GET"})
        )
        rates = Rates([images, rate("all", limit=5)], exempt=(PATH,), monotonic=self.clock)
        endpoint = LimitsEndpoint(
            self.upstream, rates=rates, path=PATH, absolute=absolute, wall=lambda: EPOCH
        )
        self.app = Identified(RateLimit(endpoint, rates=rates))

    async def get(
        self, path: str = "/v2.1/p1/limits", headers: Iterable[tuple[str, str]] = (), method: str = "GET"
    ) -> Answer:
        return await drive(self.app, method, path, [*ALICE, *headers])


async def test_the_answer_lists_the_rates_of_the_caller() -> None:
    line = Line()
    await line.get("/v2.1/p1/images/1")
    assert body_of(await line.get())["limits"]["rate"] == [
        {
            "uri": "/v2.1/{tenant_id}/images/**",
            "regex": "^/v2\\.1/([^/]+)/images(/.*)?$",
            "limit": [
                {
                    "verb": verb,
                    "value": 10,
                    "remaining": 9,
                    "unit": "MINUTE",
                    "next-available": "2026-11-25T12:00:00Z",
                }
                for verb in ("GET", "HEAD")
            ],
        },
        {
            "uri": "*",
            "regex": ".*",
            "limit": [
                {
                    "verb": "ALL",
                    "value": 5,
                    "remaining": 4,
                    "unit": "MINUTE",
                    "next-available": "2026-11-25T12:00:00Z",
                }
            ],
        },
    ]


async def test_next_available_is_when_the_next_request_fits() -> None:
    line = Line()
    for _ in range(5):
        await line.get("/elsewhere")
    told = body_of(await line.get())["limits"]["rate"][1]["limit"][0]
    assert (told["remaining"], told["next-available"]) == (0, "2026-11-25T12:00:12Z")


async def test_asking_is_never_charged() -> None:
    line = Line()
    answers = [await line.get() for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert body_of(answers[-1])["limits"]["rate"][1]["limit"][0]["remaining"] == 5


async def test_absolute_limits_come_from_the_upstream_and_from_us_the_stricter_wins() -> None:
    answer = await Line(absolute={"maxImageMeta": 40, "maxServerMeta": 99, "ours": 1}).get()
    assert body_of(answer)["limits"]["absolute"] == {"maxImageMeta": 40, "maxServerMeta": 64, "ours": 1}
