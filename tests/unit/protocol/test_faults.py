import json
from xml.etree import ElementTree

import pytest

from metaproxy.protocol.faults import JSON, NAMES, XML, Fault, prefers_xml, render


@pytest.mark.parametrize(("status", "name"), NAMES.items())
def test_a_fault_is_one_json_object_named_for_its_status(status: int, name: str) -> None:
    body = json.loads(render(Fault(status, "Why.", reason="test"), JSON))

    assert body == {name: {"code": status, "message": "Why."}}


@pytest.mark.parametrize(("status", "name"), NAMES.items())
def test_a_fault_is_one_xml_element_named_for_its_status(status: int, name: str) -> None:
    root = ElementTree.fromstring(render(Fault(status, "a < b & c", reason="test"), XML))

    assert root.tag.endswith(f"}}{name}")
    assert root.get("code") == str(status)
    assert [child.text for child in root] == ["a < b & c"]


def test_a_status_without_a_name_is_a_compute_fault() -> None:
    assert json.loads(render(Fault(418, "Tea.", reason="test"), JSON)) == {
        "computeFault": {"code": 418, "message": "Tea."}
    }


@pytest.mark.parametrize("status", [413, 429])
def test_over_limit_tells_when_to_come_back(status: int) -> None:
    fault = Fault(status, "Slow down.", reason="rate_exceeded", retry_after=7, details="More.")

    assert json.loads(render(fault, JSON))["overLimit"] == {
        "code": status,
        "message": "Slow down.",
        "details": "More.",
        "retryAfter": "7",
    }
    root = ElementTree.fromstring(render(fault, XML))
    assert root.tag == "{http://docs.openstack.org/common/api/v1.0}overLimit"
    assert root.get("retryAfter") == "7"


@pytest.mark.parametrize(
    ("path", "accept", "xml"),
    [
        ("/images", "", False),
        ("/images", "application/json", False),
        ("/images", "application/xml", True),
        ("/images", "APPLICATION/XML", True),
        ("/images", "*/*", False),
        ("/images", "application/*", False),
        ("/images", "application/xml, application/json", False),
        ("/images", "application/xml;q=0.9, application/json;q=0.8", True),
        ("/images", "application/xml;q=0.8, application/json", False),
        ("/images", "application/xml, */*;q=0.1", True),
        ("/images", "text/html, application/xml;q=0.9, */*;q=0.8", True),
        ("/images", "application/xml;q=0", False),
        ("/images", "application/xml;q=nonsense", False),
        ("/images.xml", "application/json", True),
        ("/images.json", "application/xml", False),
    ],
)
def test_xml_is_told_to_who_asks_for_it(path: str, accept: str, xml: bool) -> None:
    assert prefers_xml(path, accept.encode()) is xml


def test_a_long_accept_is_not_read() -> None:
    assert prefers_xml("", XML + b" " * 900)
    assert not prefers_xml("", XML + b" " * 1100)
