import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.routes import RouteTable, TemplateError, template_names


def table(*templates: str) -> RouteTable[str]:
    routes: RouteTable[str] = RouteTable()
    for template in templates:
        routes.add(template, template)
    return routes


ITEM = "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}"


def test_a_template_captures_its_segments() -> None:
    match = table(ITEM).match("/v2.1/t1/images/i1/metadata/label")

    assert match is not None
    assert match.template == ITEM
    assert match.captures == {"tenant_id": "t1", "image_id": "i1", "key": "label"}


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/", "/", True),
        ("/", "/a", False),
        ("/a", "/a", True),
        ("/a", "/a/", False),
        ("/a/", "/a/", True),
        ("/a/{x}", "/a/", False),
        ("/a/{x}", "/a/b", True),
        ("/a/{x}", "/a/b/c", False),
        ("/a/*", "/a/b", True),
        ("/a/*/c", "/a/b/c", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/ab", False),
        ("/**", "/", True),
        ("/**", "/a/b", True),
        ("/{x:[0-9]+}", "/12", True),
        ("/{x:[0-9]+}", "/12a", False),
        ("/A", "/a", False),
    ],
)
def test_what_a_template_matches(template: str, path: str, matches: bool) -> None:
    assert (table(template).match(path) is not None) is matches


def test_a_name_is_told_by_its_position_in_every_match() -> None:
    templates = table("/v2/{tenant_id}/**", "/v2/{other}/images", "/v2/images", "/{tenant_id}/{any}/images")

    assert templates.positions("/v2/t1/images", "tenant_id") == [-1, 1, 0]
    assert templates.positions("/v2/images", "tenant_id") == [-1, 1]
    assert templates.positions("/v3/t1", "tenant_id") == []


@pytest.mark.parametrize(
    ("template", "shaped"),
    [("/a/{b}/**", True), ("/a/{b:[0-9]+}", False), ("/a/12345", False), ("/a/*/detail", True)],
)
def test_a_template_that_insists_on_what_a_name_is_looks_at_more_than_the_shape(
    template: str, shaped: bool
) -> None:
    assert table("/other", template).is_shaped is shaped


def test_the_most_specific_template_comes_first() -> None:
    routes = table("/**", "/images/**", "/images/{id}", "/images/{id:[0-9]+}", "/images/7")

    found = [match.template for match in routes.matches("/images/7")]

    assert found == ["/images/7", "/images/{id:[0-9]+}", "/images/{id}", "/images/**", "/**"]


def test_templates_of_equal_rank_keep_their_order() -> None:
    routes = table("/images/{a}", "/images/{b}")

    assert [match.captures for match in routes.matches("/images/7")] == [{"a": "7"}, {"b": "7"}]


def test_a_dead_end_is_left_for_another_way() -> None:
    routes = table("/images/detail/x", "/images/{id}/y")

    match = routes.match("/images/detail/y")

    assert match is not None
    assert match.captures == {"id": "detail"}


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("images", "starts with '/'"),
        ("/a{b}", "whole segment"),
        ("/{a}b", "not closed"),
        ("/{a", "not closed"),
        ("/{}", "no name"),
        ("/{1a}", "no name"),
        ("/**/a", "only stand at the end"),
        ("/{a}/{a}", "stands twice"),
        ("/{a:(}", "unterminated"),
    ],
)
def test_a_template_that_cannot_be_read_says_why(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=None) as caught:
        table(template)
    assert problem in str(caught.value)


def test_the_names_of_a_template_are_told_in_order() -> None:
    assert template_names(ITEM) == ("tenant_id", "image_id", "key")


@given(st.lists(st.sampled_from(["a", "b", "images", "7"]), max_size=5), st.integers(2, 40))
def test_a_memoised_match_is_the_same_match(segments: list[str], repeats: int) -> None:
    routes = table("/a/{x}", "/images/**", "/**")
    path = "/" + "/".join(segments)

    first = routes.matches(path)

    assert all(routes.matches(path) == first for _ in range(repeats))
    assert RouteTable.matches(table("/a/{x}", "/images/**", "/**"), path) == first


def test_the_memory_of_matches_is_bounded_in_bytes_too() -> None:
    table: RouteTable[str] = RouteTable()
    table.add("/images/{image_id}", "image")

    match = table.match("/images/" + "x" * 10_000)

    assert match is not None
    assert match.value == "image"
    assert not table._memo
