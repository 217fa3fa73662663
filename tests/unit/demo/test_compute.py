"""The demo's compute API answers what Nova answers."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from metaproxy.demo.compute import ComputeApi
from metaproxy.demo.service import Answer, Request
from metaproxy.demo.world import ADMIN, ALICE, BLUE, BOB, RED_IMAGE, Person

COMPUTE = "{http://docs.openstack.org/compute/api/v1.1}"
METADATA = f"/v2.1/{ALICE.project.id}/images/{RED_IMAGE.id}/metadata"
ITEM = f"{METADATA}/label"
NONE: Mapping[str, str] = {}


class Asking:
    """Asks one compute API on behalf of people, with the headers that the proxy would set."""

    def __init__(self) -> None:
        self._api = ComputeApi()

    def __call__(
        self,
        method: str,
        path: str,
        person: Person | None = ALICE,
        body: object = None,
        headers: Mapping[str, str] = NONE,
    ) -> Answer:
        sent = dict(headers)
        if person is not None:
            sent |= {"x-identity-status": "Confirmed", "x-project-id": person.project.id}
            sent |= {"x-roles": ",".join(person.roles)}
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._api(Request(method, path, "", sent, encoded))


@pytest.fixture
def ask() -> Asking:
    return Asking()


def document(answer: Answer) -> Any:
    return json.loads(answer.body)


def test_the_item_of_the_documentation_has_its_thirty_bytes(ask: Asking) -> None:
    answer = ask("GET", ITEM)
    assert (answer.status, answer.body) == (200, '{"meta": {"label": "Updated"}}')
    assert (len(answer.body), answer.content_type) == (30, "application/json")


def test_every_answer_varies_by_two_fields_and_carries_one_request_id_twice(ask: Asking) -> None:
    headers = ask("GET", ITEM).headers
    varies = [value for name, value in headers if name == "Vary"]
    assert varies == ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"]
    assert dict(headers)["x-openstack-request-id"] == dict(headers)["x-compute-request-id"]
    assert dict(headers)["OpenStack-API-Version"] == "compute 2.1"


@pytest.mark.parametrize("prefix", ["", "/v2", "/v2.1", "/v2/{tenant_id}", "/v2.1/{tenant_id}"])
def test_paths_carry_the_project_or_not(ask: Asking, prefix: str) -> None:
    assert (
        ask("GET", f"{prefix.format(tenant_id=ALICE.project.id)}/images/{RED_IMAGE.id}/metadata/label").status
        == 200
    )


def test_a_path_with_the_project_of_another_is_malformed(ask: Asking) -> None:
    assert ask("GET", f"/v2.1/{BLUE.id}/images/detail").status == 400


def test_an_admin_may_use_the_path_of_any_project(ask: Asking) -> None:
    assert ask("GET", ITEM, ADMIN).status == 200


def test_the_image_of_another_project_is_not_found(ask: Asking) -> None:
    assert ask("GET", f"/v2.1/images/{RED_IMAGE.id}/metadata/label", BOB).status == 404


def test_a_written_item_is_read_back(ask: Asking) -> None:
    written = ask("PUT", ITEM, body={"meta": {"label": "Changed"}})
    assert (written.status, document(written)) == (200, {"meta": {"label": "Changed"}})
    assert document(ask("GET", ITEM)) == {"meta": {"label": "Changed"}}


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        [],
        {},
        {"meta": "x"},
        {"meta": {"label": 1}},
        {"meta": {"a": "b"}},
        {"meta": {"label": "", "a": ""}},
    ],
)
def test_a_body_that_is_not_the_item_is_refused(ask: Asking, body: object) -> None:
    answer = ask("PUT", ITEM, body=body)
    assert answer.status == 400
    assert document(answer)["badRequest"]["code"] == 400


def test_a_deleted_item_is_not_found(ask: Asking) -> None:
    assert ask("DELETE", ITEM).status == 204
    answer = ask("GET", ITEM)
    message = {"code": 404, "message": "The resource could not be found."}
    assert (answer.status, document(answer)) == (404, {"itemNotFound": message})
    assert answer.content_type == "application/json; charset=UTF-8"


def test_a_collection_is_merged_by_post_and_replaced_by_put(ask: Asking) -> None:
    assert document(ask("POST", METADATA, body={"metadata": {"a": "b"}}))["metadata"]["label"] == "Updated"
    assert document(ask("PUT", METADATA, body={"metadata": {"c": "d"}})) == {"metadata": {"c": "d"}}
    assert document(ask("GET", METADATA)) == {"metadata": {"c": "d"}}


def test_an_image_carries_its_metadata_until_it_is_deleted(ask: Asking) -> None:
    path = f"/v2.1/images/{RED_IMAGE.id}"
    assert document(ask("GET", path))["image"]["metadata"]["label"] == "Updated"
    assert ask("DELETE", path).status == 204
    assert ask("GET", path).status == 404


def test_a_list_holds_what_the_caller_sees(ask: Asking) -> None:
    assert [image["name"] for image in document(ask("GET", "/v2.1/images/detail", BOB))["images"]] == [
        "debian",
        "cirros",
    ]


def test_limits_tell_absolute_values_and_no_rates(ask: Asking) -> None:
    limits = document(ask("GET", "/v2.1/limits"))["limits"]
    assert (limits["rate"], limits["absolute"]["maxImageMeta"]) == ([], 128)


@pytest.mark.parametrize("path", ["/", "/v2.1/", "/v2.1"])
def test_versions_need_no_identity(ask: Asking, path: str) -> None:
    assert ask("GET", path, None).status == 200


def test_a_request_that_nobody_vouches_for_is_unauthorized(ask: Asking) -> None:
    answer = ask("GET", ITEM, None)
    assert answer.status == 401
    assert dict(answer.headers)["WWW-Authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        (ITEM, "meta"),
        (METADATA, "metadata"),
        (f"/v2.1/images/{RED_IMAGE.id}", "image"),
        ("/v2.1/images/detail", "images"),
    ],
)
def test_every_document_has_an_xml_form(ask: Asking, path: str, tag: str) -> None:
    answer = ask("GET", path, headers={"accept": "application/xml"})
    assert answer.content_type == "application/xml"
    assert Xml.fromstring(answer.body).tag == COMPUTE + tag


def test_a_path_that_ends_in_xml_asks_for_xml(ask: Asking) -> None:
    element = Xml.fromstring(ask("GET", f"{ITEM}.xml").body)
    assert (element.get("key"), element.text) == ("label", "Updated")


def test_limits_have_an_xml_form(ask: Asking) -> None:
    element = Xml.fromstring(ask("GET", "/v2.1/limits.xml").body)
    assert element.tag == "{http://docs.openstack.org/common/api/v1.0}limits"


def test_a_method_that_an_operation_lacks_is_not_found_in_html(ask: Asking) -> None:
    answer = ask("PATCH", ITEM)
    assert (answer.status, answer.content_type) == (404, "text/html; charset=UTF-8")


def test_an_unknown_path_is_not_found_in_another_shape(ask: Asking) -> None:
    assert document(ask("GET", "/v2.1/flavours"))["code"] == "404 Not Found"


def test_a_body_that_is_too_large_is_over_the_limit(ask: Asking) -> None:
    assert ask("PUT", ITEM, body=b"x" * 200_000).status == 413


@pytest.mark.parametrize(
    ("version", "status"), [("2.38", 200), ("2.39", 404), ("latest", 404), ("x", 400), ("9.9", 406)]
)
def test_image_metadata_ends_with_microversion_2_38(ask: Asking, version: str, status: int) -> None:
    assert ask("GET", ITEM, headers={"openstack-api-version": f"compute {version}"}).status == status
    assert ask("GET", ITEM, headers={"x-openstack-nova-api-version": version}).status == status
