"""All names of a resource, and a table that knows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.mount import Mount
from metaproxy.protocol.names import common_names, names_of
from metaproxy.protocol.open_paths import OpenPaths
from metaproxy.protocol.resource_table import ResourceTable

ITEM = "images/i1/metadata/label"
PREFIXES = ("/v2.1/p1", "/v2/p1", "/p1", "/v2.1", "/v2", "")
TEMPLATES = (
    "/v2.1/{tenant_id}/images/**",
    "/v2.1/{tenant_id:p[0-9]}/images/{image_id}/metadata/{key}",
    "/v2.1/p1/images/**",
    "/v2/{tenant_id}/images/{image_id}/metadata/*",
    "/v2.1/images/**",
    "/v2/images/{image_id}/**",
    "/images/{image_id}/metadata/{key}",
    "/v2.1/{tenant_id}/**",
    "/v2/**",
    "/{version}/{tenant_id}/images/**",
    "/*/images/**",
    "/p1/images/**",
    "/{tenant_id}/images/**",
    "/{tenant_id}/**",
    "/{tenant_id:p[0-9]}/images/**",
)
OTHERS = (
    "/v2.1/p1/secret/**",
    "/v2/p1/**",
    "/v2.1/**",
    "/v2.1/{tenant_id}/**",
    "/v2.1/{tenant_id}/secret/{id}",
    "/v2.1/secret/**",
    "/p1/secret/**",
    "/secret/{id}",
)


def table(*templates: str, exact: bool = False, mount: str = "") -> ResourceTable[str]:
    found: ResourceTable[str] = ResourceTable(Mount(mount))
    for template in templates:
        found.add(template, template, exact=exact)
    return found


def test_every_name_of_a_resource_has_the_same_names() -> None:
    names = [f"{prefix}/{ITEM}" for prefix in PREFIXES]

    for name in names:
        assert list(names_of(name, "p1")) == names


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v2.1", "/v2.1/", "/healthcheck", "/v3/p1/images", "/v1.1/images"]
)
def test_what_is_no_resource_of_the_api_has_no_other_name(path: str) -> None:
    assert list(names_of(path, "p1")) == [path]


@pytest.mark.parametrize("template", TEMPLATES)
@given(st.lists(st.sampled_from([f"{prefix}/{ITEM}" for prefix in PREFIXES]), min_size=1, max_size=6))
def test_a_template_speaks_for_every_name_whichever_came_before(template: str, paths: list[str]) -> None:
    asked = table(template)

    found = [asked.matches(path, "p1") for path in paths]

    assert all(matches == found[0] and len(matches) == 1 for matches in found)


@pytest.mark.parametrize("template", OTHERS)
def test_a_template_speaks_for_every_name_of_a_collection_that_is_none_of_novas(template: str) -> None:
    asked = table(template)
    # Only a template that names the collection tells it from a tenant in /p1/secret and /v2.1/secret.
    known = PREFIXES if "secret" in template else ("/v2.1/p1", "/v2/p1", "")

    assert [prefix for prefix in known if asked.has(f"{prefix}/secret/1", "p1")] == list(known)


@pytest.mark.parametrize("path", ["/servers/detail", "/servers/7/os-interface", "/servers/images"])
def test_a_collection_is_not_taken_for_a_tenant(path: str) -> None:
    assert table("/v2.1/{tenant_id}/os-interface", "/images", "/detail").matches(path, "p1") == ()


def test_a_tenant_is_captured_and_not_the_version_before_it() -> None:
    asked = table("/{tenant_id}/**")

    captured = {
        match.captures["tenant_id"] for name in PREFIXES for match in asked.matches(f"{name}/{ITEM}", "p1")
    }

    assert captured == {"p1"}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_template_of_another_tenant_speaks_for_none(prefix: str) -> None:
    asked = table("/v2.1/p2/images/**", "/v2.1/{tenant_id:q.*}/images/**")

    assert asked.matches(f"{prefix}/{ITEM}", "p1") == ()


def test_a_tenant_that_nobody_knows_may_be_the_one_that_a_template_wants() -> None:
    assert table("/v2.1/{tenant_id:[0-9a-f]{32}}/images/**").has(f"/v2.1/{ITEM}")


def test_an_exact_template_speaks_for_one_name() -> None:
    asked = table("/v2.1/{tenant_id}/images/**", exact=True)

    assert [prefix for prefix in PREFIXES if asked.has(f"{prefix}/{ITEM}", "p1")] == ["/v2.1/p1"]


@pytest.mark.parametrize("path", ["/v2.1/p1/rax-things/1", "/v2/rax-things/1", "/rax-things/1"])
def test_a_collection_that_a_template_names_is_one(path: str) -> None:
    assert table("/v2.1/{tenant_id}/rax-things/{id}").has(path, "p1")


@pytest.mark.parametrize("path", ["/", "/v2.1", "/healthcheck", "/v2.1/p2/servers"])
def test_a_template_speaks_for_no_other_resource(path: str) -> None:
    assert not table("/v2.1/{tenant_id}/images/**", "/v2.1/p1/**").has(path, "p1")


def test_what_a_path_does_not_say_is_captured_from_the_token() -> None:
    [match] = table("/v2.1/{tenant_id}/images/{image_id}").matches("/v2/images/i1", "p1")

    assert match.captures == {"tenant_id": "p1", "image_id": "i1"}


def test_names_have_in_common_what_is_neither_version_nor_tenant_nor_format() -> None:
    assert {
        common_names(f"{prefix}/flavors/1{end}") for prefix in PREFIXES for end in ("", "/", ".json")
    } == {("/flavors/1",)}


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/compute/v2.1/{tenant_id}/images/**", "/v2/images/1", True),
        ("/v2.1/{tenant_id}/images/**", "/v2/images/1", True),
        ("/*/v2.1/{tenant_id}/images/**", "/v2/images/1", True),
        ("/compute/**", "/healthcheck", True),
        ("/other/v2.1/{tenant_id}/images/**", "/v2/images/1", False),
    ],
)
def test_a_template_may_be_written_with_the_prefix(template: str, path: str, matches: bool) -> None:
    assert table(template, mount="/compute").has(path) is matches


@pytest.mark.parametrize(
    ("template", "path", "is_open"),
    [
        ("/healthcheck", "/healthcheck/", True),
        ("/healthcheck", "/healthcheck.json", False),
        ("/v2.1", "/v2", False),
        ("/v2.1/**", "/v2/images", False),
        ("/v2.1/{tenant_id}/**", "/v2.1/images/1", True),
        ("/v2.1/{tenant_id}/**", "/images/1", False),
        ("/v2.1/{tenant_id}/images", "/v2/images.json", True),
        ("/v2.1/p1/images", "/v2.1/p2/images", False),
        ("/v2.1/{tenant_id}/images", "/static/images", False),
        ("/{tenant_id}/images", "/p1/images", True),
        ("/v2.1/{tenant_id:[0-9]+}/images", "/v2.1/images", False),
    ],
)
def test_a_path_without_a_token_is_open_only_if_a_template_says_so(
    template: str, path: str, is_open: bool
) -> None:
    assert OpenPaths([template]).has(path) is is_open


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (b"/compute/v2.1/a", (b"/compute", b"/v2.1/a")),
        (b"/compute", (b"/compute", b"/")),
        (b"/compute/", (b"/compute", b"/")),
        (b"/%63ompute/v2.1", (b"/%63ompute", b"/v2.1")),
        (b"/computer/v2.1", None),
        (b"/v2.1/compute", None),
        (b"/comp%2Fute/v2.1", None),
    ],
)
def test_a_prefix_is_taken_off_as_a_segment_however_it_is_spelled(
    sent: bytes, taken: tuple[bytes, bytes] | None
) -> None:
    assert Mount("/compute").taken_off(sent) == taken


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (b"/v2.1/servers/1", b"/compute/v2.1/servers/1"),
        (b"http://api/v2.1/servers/1", b"http://api/compute/v2.1/servers/1"),
        (b"http://api/compute/v2.1/x", b"http://api/compute/v2.1/x"),
        (b"http://elsewhere/v2.1/x", b"http://elsewhere/v2.1/x"),
        (b"x?a=1", b"x?a=1"),
        (b"http://[broken", b"http://[broken"),
    ],
)
def test_a_link_to_the_api_gets_the_prefix_back(link: bytes, told: bytes) -> None:
    assert Mount("/compute").links([(b"location", link), (b"via", b"/v2.1")], b"api") == [
        (b"location", told),
        (b"via", b"/v2.1"),
    ]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_most_specific_template_comes_first_whatever_its_version(prefix: str) -> None:
    written = ["/v2.1/**", "/images/{image_id}/**", "/v2/{tenant_id}/images/{image_id}/metadata/{key}", "/**"]

    found = [match.template for match in table(*written).matches(f"{prefix}/{ITEM}", "p1")]

    assert found == [written[2], written[1], written[0], written[3]]
