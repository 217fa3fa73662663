"""The operations that the proxy knows."""

import pytest

from metaproxy.protocol.compute_api import (
    is_top_level_resource,
    known_operations,
    resource_path,
    with_head,
)

ITEM = frozenset({"GET", "HEAD", "PUT", "DELETE"})


@pytest.mark.parametrize("prefix", ["", "/v2", "/v2.1", "/v2/t1", "/v2.1/t1"])
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/images/i/metadata/label", ITEM),
        ("/images/i/metadata", frozenset({"GET", "HEAD", "PUT", "POST"})),
        ("/images/i", frozenset({"GET", "HEAD", "DELETE"})),
        ("/images/detail", frozenset({"GET", "HEAD"})),
        ("/images", frozenset({"GET", "HEAD"})),
        ("/limits", frozenset({"GET", "HEAD"})),
    ],
)
def test_an_operation_is_known_under_every_prefix(prefix: str, path: str, methods: frozenset[str]) -> None:
    match = known_operations().match(prefix + path)

    assert match is not None
    assert match.value == methods
    assert match.captures.get("tenant_id") == ("t1" if "t1" in prefix else None)


@pytest.mark.parametrize("path", ["/", "/v2.1/", "/v2.1/servers", "/v2.1/t1/servers", "/images/i/other"])
def test_other_paths_are_unknown(path: str) -> None:
    assert known_operations().match(path) is None


def test_methods_with_get_have_head() -> None:
    assert with_head(["get"]) == {"GET", "HEAD"}
    assert with_head(["PUT"]) == {"PUT"}


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/v2.1/limits.json", "/v2.1/limits"),
        ("/v2.1/limits.xml", "/v2.1/limits"),
        ("/v2.1/limits/", "/v2.1/limits"),
        ("/v2.1/limits", "/v2.1/limits"),
        ("/", "/"),
        ("", "/"),
    ],
)
def test_a_format_suffix_names_the_same_resource(path: str, resource: str) -> None:
    assert resource_path(path) == resource


@pytest.mark.parametrize("segment", ["images", "servers", "flavors", "os-keypairs", "limits.xml"])
def test_novas_collections_are_no_tenants(segment: str) -> None:
    assert is_top_level_resource(segment)


@pytest.mark.parametrize("segment", ["3f2a", "imagesx", "admin", "Images"])
def test_anything_else_is_a_tenant(segment: str) -> None:
    assert not is_top_level_resource(segment)
