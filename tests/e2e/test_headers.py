"""The sections headers and cors in a running proxy: misses, hits, refusals and preflights alike."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import ITEM, Proxy, Sections, running_proxy

pytestmark = pytest.mark.e2e

HORIZON = "https://horizon.example"
SECTIONS: Sections = {
    "cors": {"origins": [HORIZON]},
    "headers": {
        "response": {
            "remove": ["Server"],
            "set": [{"name": "Strict-Transport-Security", "value": "max-age=31536000"}],
        },
    },
}


@pytest.fixture(scope="module")
def proxy(folder: Path, compute: str, identity: str) -> Iterator[Proxy]:
    with running_proxy(folder / "headers", upstream=compute, identity=identity, sections=SECTIONS) as proxy:
        yield proxy


def is_edited(answer: httpx.Response) -> bool:
    return "server" not in answer.headers and "strict-transport-security" in answer.headers


def test_misses_and_hits_are_told_to_the_page_that_may_read_them(proxy: Proxy) -> None:
    with proxy.client(ALICE) as alice:
        answers = [alice.get(ITEM, headers={"Origin": HORIZON}) for _ in range(3)]
        other = alice.get(ITEM)

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert "; hit" in answers[2].headers["cache-status"]
    assert "; hit" in other.headers["cache-status"]
    assert all(map(is_edited, [*answers, other]))
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {HORIZON}
    assert "access-control-allow-origin" not in other.headers
    assert all("Origin" in answer.headers.get_list("vary") for answer in [*answers, other])


def test_a_refusal_is_edited_and_can_be_read(proxy: Proxy) -> None:
    with proxy.client() as nobody:
        answer = nobody.get(ITEM, headers={"Origin": HORIZON})

    assert (answer.status_code, is_edited(answer)) == (401, True)
    assert answer.headers["access-control-allow-origin"] == HORIZON


@pytest.mark.parametrize(("origin", "status"), [(HORIZON, 204), ("https://evil.invalid", 403)])
def test_a_preflight_is_answered_without_a_token(proxy: Proxy, origin: str, status: int) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    with proxy.client() as browser:
        answer = browser.options(ITEM, headers=asked)

    assert (answer.status_code, is_edited(answer)) == (status, True)
    assert ("access-control-allow-methods" in answer.headers) is (status == 204)
