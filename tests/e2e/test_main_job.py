"""A metadata read through every stage, over real sockets."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import httpx
import pytest

from metaproxy.demo.world import ADMIN, ALICE, BOB, EXPIRED_TOKEN, RED_OTHER_IMAGE
from metaproxy.version import __version__
from tests.e2e.deployment import ITEM, METADATA, RED_API, ROUTE, Proxy, requests_seen, running_proxy
from tests.e2e.sockets import WireAnswer, WireClient

pytestmark = pytest.mark.e2e

REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def alice(proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.client(ALICE) as client:
        yield client


@pytest.fixture
def item(alice: httpx.Client) -> str:
    """The path of a metadata item of this test's own."""
    path = f"{METADATA}/{uuid.uuid4()}"
    assert write(alice, path, "first").status_code == 200
    return path


def write(client: httpx.Client, path: str, value: str) -> httpx.Response:
    return client.put(path, json={"meta": {path.rpartition("/")[2]: value}})


def read_item(proxy: Proxy) -> WireAnswer:
    with WireClient(proxy.port) as client:
        client.send(
            f"GET {ITEM} HTTP/1.1",
            "Host: compute",
            f"X-Auth-Token: {ALICE.token}",
            "Accept: application/json",
        )
        return client.answer()


def test_the_documented_example_comes_bit_for_bit_from_the_upstream_and_from_memory(proxy: Proxy) -> None:
    request_ids = set()
    for answer in (read_item(proxy), read_item(proxy)):
        assert answer.status == 200
        assert answer.body == b'{"meta": {"label": "Updated"}}'
        assert answer.all("Content-Length") == ["30"]
        assert answer.all("Content-Type") == ["application/json"]
        assert answer.all("Via") == [f"1.1 metaproxy (metaproxy/{__version__})"]
        assert len(answer.all("Date")) == 1
        assert len(answer.all("Server")) == 1
        (request_id,) = answer.all("X-Compute-Request-Id")
        assert REQUEST_ID.fullmatch(request_id)
        request_ids.add(request_id)
    assert len(request_ids) == 2


def test_a_second_read_never_reaches_the_upstream(alice: httpx.Client, item: str, compute: str) -> None:
    first = alice.get(item)
    seen = requests_seen(compute)
    second = alice.get(item)
    assert requests_seen(compute) == seen
    assert second.content == first.content
    assert "Age" not in first.headers
    assert second.headers["Age"].isdecimal()
    assert re.match(r"metaproxy; hit\b", second.headers["Cache-Status"])


def test_a_hit_keeps_the_fields_that_the_upstream_answered(alice: httpx.Client, item: str) -> None:
    first, second = alice.get(item).headers, alice.get(item).headers
    for name in ("Content-Type", "OpenStack-API-Version", "Vary", "Server", "Date"):
        assert second.get_list(name) == first.get_list(name)


def test_a_write_through_the_proxy_is_seen_by_the_very_next_read(alice: httpx.Client, item: str) -> None:
    key = item.rpartition("/")[2]
    assert alice.get(item).json() == {"meta": {key: "first"}}
    assert alice.get(METADATA).json()["metadata"][key] == "first"
    write(alice, item, "second")
    assert alice.get(item).json() == {"meta": {key: "second"}}
    assert alice.get(METADATA).json()["metadata"][key] == "second"
    assert alice.delete(item).status_code == 204
    assert alice.get(item).status_code == 404


def test_an_upstream_fault_passes_untouched(alice: httpx.Client) -> None:
    answer = alice.get(f"{METADATA}/unknown")
    message = {"code": 404, "message": "The resource could not be found."}
    assert (answer.status_code, answer.json()) == (404, {"itemNotFound": message})
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"


def test_an_item_is_answered_in_xml_to_those_who_ask(alice: httpx.Client, item: str) -> None:
    alice.get(item)
    for _ in range(2):
        answer = alice.get(item, headers={"Accept": "application/xml"})
        assert answer.headers["Content-Type"] == "application/xml"
        assert Xml.fromstring(answer.content).text == "first"


def test_a_head_has_the_fields_of_a_get_and_no_body(alice: httpx.Client, item: str) -> None:
    got, headed = alice.get(item), alice.head(item)
    assert headed.headers["Content-Length"] == got.headers["Content-Length"]
    assert headed.content == b""


def test_another_tenant_is_forbidden_even_what_is_in_memory(proxy: Proxy, alice: httpx.Client) -> None:
    alice.get(ITEM)
    with proxy.client(BOB) as bob:
        answer = bob.get(ITEM)
    assert (answer.status_code, answer.json()["forbidden"]["code"]) == (403, 403)


def test_a_path_without_tenant_is_served_by_the_scope_of_the_token(proxy: Proxy, alice: httpx.Client) -> None:
    path = f"/v2.1/images/{RED_OTHER_IMAGE.id}/metadata/kind"
    assert alice.get(path).json() == {"meta": {"kind": "snapshot"}}
    with proxy.client(BOB) as bob:
        assert bob.get(path).status_code == 404


def test_an_admin_may_read_every_tenant(proxy: Proxy, item: str) -> None:
    with proxy.client(ADMIN) as admin:
        assert admin.get(item).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-Auth-Token": "unknown"}, {"X-Auth-Token": EXPIRED_TOKEN}])
def test_without_a_valid_token_a_request_is_unauthorized(
    proxy: Proxy, identity: str, headers: dict[str, str]
) -> None:
    with proxy.client() as nobody:
        answer = nobody.get(ITEM, headers=headers)
    assert (answer.status_code, answer.json()["unauthorized"]["code"]) == (401, 401)
    assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{identity}/v3"'


def test_a_token_is_validated_once(proxy: Proxy, alice: httpx.Client, identity: str) -> None:
    alice.get(ITEM)
    seen = requests_seen(identity)
    assert alice.get(ITEM).status_code == alice.get(METADATA).status_code == 200
    assert requests_seen(identity) == seen


def test_a_method_that_an_operation_lacks_is_refused_with_those_that_it_has(alice: httpx.Client) -> None:
    answer = alice.patch(ITEM)
    assert (answer.status_code, answer.json()["badMethod"]["code"]) == (405, 405)
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["Allow"].split(", "))


def test_refusals_come_in_xml_to_those_who_ask(proxy: Proxy) -> None:
    with proxy.client() as nobody:
        answer = nobody.get(ITEM, headers={"Accept": "application/xml"})
    assert answer.headers["Content-Type"] == "application/xml"
    assert Xml.fromstring(answer.content).tag.endswith("}unauthorized")


def test_versions_need_no_token(proxy: Proxy) -> None:
    with proxy.client() as nobody:
        assert nobody.get("/").json()["versions"]


@pytest.mark.parametrize("path", [ITEM, f"{RED_API}/images/detail", "/"])
def test_every_answer_has_one_fresh_request_id(proxy: Proxy, path: str) -> None:
    with proxy.client() as nobody:
        ids = [nobody.get(path).headers.get_list("X-Compute-Request-Id") for _ in range(2)]
    assert all(len(values) == 1 and REQUEST_ID.fullmatch(values[0]) for values in ids)
    assert ids[0] != ids[1]


def test_over_the_rate_a_consumer_is_told_when_to_come_back(
    tmp_path: Path, compute: str, identity: str
) -> None:
    rate = {"name": "reads", "path": f"{ROUTE}/**", "methods": ["GET"], "per": ["project"]}
    sections = {"limits": {"rates": [{**rate, "rate": "2/minute", "burst": 2}]}}
    with (
        running_proxy(tmp_path, upstream=compute, identity=identity, sections=sections) as proxy,
        proxy.client(ALICE) as alice,
        proxy.client(ADMIN) as admin,
    ):
        assert [alice.get(ITEM).status_code for _ in range(3)] == [200, 200, 413]
        answer = alice.get(ITEM)
        over_limit = answer.json()["overLimit"]
        assert over_limit["code"] == 413
        assert 0 < int(answer.headers["Retry-After"]) <= 30
        assert over_limit["retryAfter"] == answer.headers["Retry-After"]
        assert admin.get(ITEM).status_code == 200
