"""Bodies that are counted, and rates by regular expression, in a running proxy."""

import gzip
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import METADATA, RED_API, Proxy, Sections, running_proxy

compress = partial(gzip.compress, mtime=0)
"""Without the time: the names of tests must be the same in each worker."""

pytestmark = pytest.mark.e2e

FREEZING = r"/(a+)+$"
SECTIONS: Sections = {
    "identity": {"anonymous": ["/**"]},
    "limits": {
        "rates": [
            {"name": "freezing", "regex": FREEZING, "per": ["address"], "rate": "1000/second"},
            {"name": "kinds", "regex": r"/v2\.1/[^/]+/(servers|flavors)(/.*)?", "rate": "2/day"},
        ],
        "absolute": {"items_returned": 9, "image_metadata_items": 3},
    },
}
FOUR = json.dumps({"metadata": dict.fromkeys("abcd", "v")}).encode()


@pytest.fixture(scope="module")
def proxy(folder: Path, compute: str, identity: str) -> Iterator[Proxy]:
    with running_proxy(folder / "bodies", upstream=compute, identity=identity, sections=SECTIONS) as proxy:
        yield proxy


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (FOUR, {"Content-Type": "application/json; profile=xml"}, 413),
        (FOUR, {"Content-Type": "application/json;charset=myxml"}, 400),
        (FOUR, {"Content-Type": "application/xml"}, 400),
        (FOUR, {}, 413),
        (FOUR.decode().encode("utf-16"), {"Content-Type": "application/json"}, 413),
        (compress(FOUR), {"Content-Encoding": "gzip"}, 413),
        (FOUR, {"Content-Encoding": "br"}, 400),
        pytest.param(b"[" * 60_000, {"Content-Type": "application/json"}, 400, id="large-8"),
    ],
)
def test_no_body_passes_uncounted(
    proxy: Proxy, method: str, body: bytes, fields: dict[str, str], status: int
) -> None:
    with proxy.client(ALICE) as alice:
        before = alice.get(METADATA).json()
        answers = [alice.request(method, METADATA, content=body, headers=fields) for _ in range(3)]
        after = alice.get(METADATA).json()

    assert [answer.status_code for answer in answers] == [status] * 3
    assert {next(iter(answer.json())) for answer in answers} == {
        "overLimit" if status == 413 else "badRequest"
    }
    assert before == after


def test_an_expression_keeps_nobody_waiting(proxy: Proxy) -> None:
    """Python's re would not come back from the first of these."""
    with proxy.client() as nobody:
        answers = [nobody.get(f"/{'a' * 4000}{end}") for end in ("!", "!", "b/", "")]

    assert ['"freezing"' in answer.headers.get("ratelimit", "") for answer in answers] == [False] * 3 + [True]


def test_an_expression_counts_first_and_repeated_requests(proxy: Proxy) -> None:
    with proxy.client(ALICE) as alice:
        servers = [alice.get(f"{RED_API}/servers").status_code for _ in range(4)]
        flavors = [alice.get(f"{RED_API}/flavors/{number}").status_code for number in range(3)]

    assert servers == [servers[0], servers[0], 413, 413]
    assert servers[0] != 413
    assert flavors[0] != 413
