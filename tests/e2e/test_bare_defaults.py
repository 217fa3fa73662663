"""A configuration of three sections refuses nothing that the API would have taken."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metaproxy.config.model.identity import KeystoneV3Settings
from metaproxy.demo.world import ALICE, RED
from tests.e2e.burst import burst
from tests.e2e.deployment import RED_API, Proxy, Sections, running_proxy
from tests.e2e.sockets import OK, ScriptedUpstream, UpstreamConnection

pytestmark = pytest.mark.e2e

OPERATIONS = (
    ("GET", "/servers"),
    ("GET", "/servers/detail?limit=1000&changes-since=2026-01-01T00:00:00Z"),
    ("POST", "/servers"),
    ("PUT", "/servers/1"),
    ("DELETE", "/servers/1"),
    ("POST", "/servers/1/action"),
    ("PUT", "/servers/1/metadata"),
    ("PUT", "/servers/1/tags/a"),
    ("PATCH", "/servers/1"),
    ("OPTIONS", "/servers/1"),
    ("GET", "/flavors/detail"),
    ("GET", "/os-keypairs"),
    ("POST", "/os-server-groups"),
    ("GET", "/os-simple-tenant-usage"),
    ("PUT", "/os-quota-sets/someone"),
    ("GET", "/limits"),
    ("GET", "/limits?tenant_id=someone"),
    ("GET", "/images/1"),
    ("DELETE", "/images/1"),
    ("PUT", "/images/1/metadata"),
    ("POST", "/images/1/metadata"),
    ("DELETE", "/images/1/metadata/key"),
    ("GET", "/extensions"),
    ("POST", "/something/that/does/not/exist/yet"),
)
PREFIXES = ("/v2.1", f"/v2.1/{RED.id}", f"/v2/{RED.id}")
TOP_LEVEL = ("servers", "flavors", "os-", "limits", "images", "extensions")
"""What stands directly under a version; anything else there is a tenant."""


@pytest.fixture(scope="module")
def bare(folder: Path, scripted: ScriptedUpstream, identity: str) -> Iterator[Proxy]:
    plain: Sections = {
        "cache": {"routes": []},
        "identity": {"anonymous": list(KeystoneV3Settings.model_fields["anonymous"].default)},
    }
    with running_proxy(folder / "bare", upstream=scripted.url, identity=identity, sections=plain) as running:
        yield running


@pytest.fixture
def alice(bare: Proxy) -> Iterator[httpx.Client]:
    with bare.client(ALICE) as client:
        yield client


def seen(upstream: ScriptedUpstream) -> list[str]:
    """Return the request lines that the upstream has got from clients."""
    lines = [head.split(b"\r\n")[0].decode() for head in upstream.heads]
    return [line.removesuffix(" HTTP/1.1") for line in lines if line != "GET / HTTP/1.1"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_operation_is_passed_on(upstream: ScriptedUpstream, alice: httpx.Client, prefix: str) -> None:
    asked = [
        (method, prefix + path)
        for method, path in OPERATIONS
        if prefix != "/v2.1" or path.removeprefix("/").startswith(TOP_LEVEL)
    ]

    statuses = [alice.request(method, path).status_code for method, path in asked]

    assert statuses == [200] * len(asked)
    assert seen(upstream) == [f"{method} {path}" for method, path in asked]


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/", "/v2.1", "/v2.1/", "/healthcheck"])
def test_what_the_api_answers_to_all_is_passed_on_without_a_token(
    upstream: ScriptedUpstream, bare: Proxy, path: str
) -> None:
    with bare.client() as nobody:
        assert nobody.get(path).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "application/x-unheard-of"},
        {"Content-Type": ""},
        {"Accept": "application/x-unheard-of"},
        {"OpenStack-API-Version": "compute 2.999"},
        {"X-Long": "x" * 16_000},
        {"X-Forwarded-For": "not an address"},
        {"Range": "bytes=1-2"},
        {f"X-Field-{number}": "x" for number in range(80)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_fields_that_mean_nothing_here_are_no_reason_to_refuse(
    upstream: ScriptedUpstream, alice: httpx.Client, fields: dict[str, str]
) -> None:
    assert alice.post(f"/v2.1/{RED.id}/servers", headers=fields, content=b"{}").status_code == 200


def test_a_body_may_be_large(upstream: ScriptedUpstream, alice: httpx.Client) -> None:
    size = 8 * 2**20

    def read(connection: UpstreamConnection, _: bytes) -> None:
        connection.read_exactly(size)
        connection.send(OK)

    upstream.script = read

    assert alice.post(f"/v2.1/{RED.id}/servers", content=b"x" * size).status_code == 200


def json_answer(body: bytes) -> bytes:
    """Return an answer with ``body``."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def metadata(number: int) -> bytes:
    """Return so many items, as a request and as an answer have them."""
    return json.dumps({"metadata": {f"key-{item}": "value" for item in range(number)}}).encode()


def test_metadata_may_have_many_items(upstream: ScriptedUpstream, alice: httpx.Client) -> None:
    path, items = f"/v2.1/{RED.id}/images/1/metadata", metadata(2000)

    def answer(connection: UpstreamConnection, head: bytes) -> None:
        if head.startswith(b"PUT"):
            connection.read_exactly(len(items))
        connection.send(json_answer(items))

    upstream.script = answer

    assert alice.put(path, content=items).content == items
    assert alice.get(path).content == items


async def test_a_project_may_have_many_requests_at_once(upstream: ScriptedUpstream, bare: Proxy) -> None:
    many = 150
    arrived: list[UpstreamConnection] = []

    def wait_for_all(connection: UpstreamConnection, _: bytes) -> None:
        arrived.append(connection)
        if len(arrived) == many:
            for each in arrived:
                each.send(OK)

    upstream.script = wait_for_all
    token = {"X-Auth-Token": ALICE.token}
    answers = await burst([bare.port], f"{RED_API}/servers", token, connections=many, requests=1)

    assert [answer.status for answer in answers] == [200] * many


def test_the_limits_are_the_apis_own(upstream: ScriptedUpstream, alice: httpx.Client) -> None:
    own = b'{"limits": {"rate": [], "absolute": {"maxImageMeta": 128, "ours": -1}}}'
    upstream.script = lambda connection, _: connection.send(json_answer(own))

    assert alice.get(f"/v2.1/{RED.id}/limits").content == own
