import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metaproxy.protocol.limits.rates import RateRule, RuleError
from metaproxy.protocol.limits.table import MEMO_ENTRIES, RateTable, _Expressions
from metaproxy.settings.units import Rate
from tests.filters.limiting import rate


def names(table: RateTable, path: str, method: str = "GET", query: bytes = b"", group: str = "") -> list[str]:
    return [target.rule.rule.name for target in table.targets(method, path, query, group)]


def table_of(*rules: RateRule, exempt: tuple[str, ...] = ()) -> RateTable:
    return RateTable(rules, algorithm="gcra", exempt=exempt)


def test_every_rule_that_matches_is_met_in_the_order_of_the_rules() -> None:
    table = table_of(
        rate("regex", regex="/images/.*"),
        rate("everywhere"),
        rate("elsewhere", path="/servers"),
        rate("template", path="/images/{id}"),
    )
    assert names(table, "/images/1") == ["regex", "everywhere", "template"]


@pytest.mark.parametrize("path", ["/images/1", "/images/1/", "/images/1.json", "/images/1.xml"])
@pytest.mark.parametrize("place", [{"path": "/images/{id}"}, {"regex": "/images/[0-9]+"}])
def test_a_suffix_or_a_final_slash_leads_past_no_rule(path: str, place: dict[str, Any]) -> None:
    table = table_of(rate("images", **place))
    assert names(table, path) == ["images"]
    assert table.targets("GET", path, b"", "")[0].key == table.targets("GET", "/images/1", b"", "")[0].key


@pytest.mark.parametrize(("method", "met"), [("GET", []), ("HEAD", []), ("PUT", ["all"])])
@pytest.mark.parametrize("path", ["/v2/t/limits", "/v2/t/limits.xml"])
def test_reading_an_exempt_path_meets_no_rule(path: str, method: str, met: list[str]) -> None:
    assert names(table_of(rate("all"), exempt=("/v2/{tenant}/limits",)), path, method) == met


def test_only_expressions_that_may_match_are_tried() -> None:
    rules = [rate(f"r{number}", regex=f"/service{number}/.*") for number in range(500)]
    expressions = _Expressions(table_of(*rules, rate("any", regex=".*/x")).rules)
    assert len(expressions.candidates("/service7/x")) == 2


@pytest.mark.parametrize(
    "regex",
    [
        "/a/.*", "^/a/b", "/a|/b/c", "/(a|b)/c", "/a?/c", "/a*/c", "/a.c/d", "/a\\.c/d",
        "/v2\\.1/[^/]+", "/a+/c", "/a{2}/c", "/[ab]/c", "/a/?c",
        "/a/*c", "/a/{0,1}c", ".*", "/a", "/(?:a)/c", "/\\w+/c",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/a/b/c", "/a/b", "/a/c", "/b/c", "/c", "//c", "/aa/c", "/abc/d", "/a.c/d", "/v2.1/x", "/a", ""]
)
def test_sorting_expressions_changes_nothing(regex: str, path: str) -> None:
    expected = ["r"] if re.fullmatch(regex, path) else []
    assert names(table_of(rate("r", regex=regex, exact=True)), path) == expected


def test_what_was_found_is_remembered_within_bounds() -> None:
    table = table_of(rate("images", path="/images/{id}"))
    for number in range(MEMO_ENTRIES + 10):
        assert names(table, f"/images/{number}") == ["images"]
    assert len(table._memo) <= MEMO_ENTRIES


def test_unnamed_groups_and_named_ones_tell_counters_apart() -> None:
    table = table_of(rate("r", regex="/([a-z]+)/(?P<id>[0-9]+)(/x)?"))
    keys = {table.targets("GET", path, b"", "")[0].key for path in ("/a/1", "/a/2", "/b/1", "/a/1/x", "/a/1")}
    assert len(keys) == 4


def test_without_capture_groups_only_named_ones_in_per_tell_counters_apart() -> None:
    rule = rate("r", regex="/([a-z]+)/(?P<id>[0-9]+)", capture_groups=False, per=("project", "id"))
    keys = {table_of(rule).targets("GET", path, b"", "")[0].key for path in ("/a/1", "/b/1", "/a/2")}
    assert len(keys) == 2


def test_captured_text_cannot_reach_out_of_its_place_in_a_key() -> None:
    table = table_of(rate("r", regex="/(.*)-(.*)"))
    keys = {table.targets("GET", path, b"", "")[0].key for path in ("/a/b-c", "/a-b/c", "/a%2Fb-c")}
    assert len(keys) == 3


UUID = "70a599e0-31e7-49b7-b260-868f441e862b"


@pytest.mark.parametrize(
    "place",
    [
        {"path": "/v2.1/{t}/images/{i}/**", "per": ("i",)},
        {"regex": "/v2.1/[^/]+/images/(.*)"},
        {"regex": "/v2.1/[^/]+/images/(?P<i>[^/]+)/.*", "per": ("i",), "capture_groups": False},
    ],
)
def test_an_id_has_one_counter_however_a_database_lets_it_be_spelled(place: dict[str, Any]) -> None:
    table = table_of(rate("r", **place))
    ids = (UUID, UUID.upper(), f"{UUID} ", f"{UUID.upper()}  ")
    keys = {table.targets("GET", f"/v2.1/t/images/{spelled}/metadata", b"", "")[0].key for spelled in ids}
    assert len(keys) == 1


def test_names_that_are_no_ids_keep_their_case() -> None:
    table = table_of(rate("r", path="/keys/{k}", per=("k",)))
    assert table.targets("GET", "/keys/A", b"", "")[0].key != table.targets("GET", "/keys/a", b"", "")[0].key


def test_a_rule_of_another_rate_has_other_counters() -> None:
    keys = {table_of(rate("r", limit=limit)).targets("GET", "/", b"", "")[0].key for limit in (1, 2)}
    assert len(keys) == 2


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(RuleError, match="the same name"):
        table_of(rate("a"), rate("a"))


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(RuleError, match="one of gcra, fixed-window"):
        RateTable([], algorithm="guess")


def test_the_rules_of_a_group_are_its_own_and_the_global_ones() -> None:
    table = table_of(rate("vip", groups=("vip",)), rate("default"), rate("all", per=("global",)))
    assert [rule.rule.name for rule in table.for_group("vip")] == ["vip", "all"]
    assert [rule.rule.name for rule in table.for_group("")] == ["default", "all"]


SEGMENTS = st.sampled_from(["v2", "p1", "12345678", "images", "abcdef1", "limits", "metadata1"])
PATHS = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end,
    st.lists(SEGMENTS, max_size=4),
    st.sampled_from(["", "", "/", ".json", "1.json"]),
)


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/v2/{tenant_id}/images"},
        {"path": "/v2/{tenant_id}/{id:[0-9]+}"},
        {"path": "/v2/{id}/**", "per": ("id",)},
        {"regex": "/v2/[0-9]+/.*"},
        {"path": "/**"},
        {},
    ],
)
@given(paths=st.lists(PATHS, min_size=2, max_size=12))
@example(paths=["/v2/p1/12345678", "/v2/p1/abcdef1.json"])
def test_what_other_paths_came_before_decides_nothing(more: dict[str, Any], paths: list[str]) -> None:
    rules = [
        RateRule(name="a", rate=Rate(1, "minute"), **more),
        RateRule(name="b", rate=Rate(1, "minute"), path="/v2/*/abcdef1", methods=("GET",)),
    ]

    def met(table: RateTable, path: str) -> list[tuple[str, str]]:
        return [(target.rule.rule.name, target.key) for target in table.targets("GET", path, b"", "")]

    busy = RateTable(rules, algorithm="gcra", exempt=["/v2/{tenant_id}/limits"])
    for path in paths:
        fresh = RateTable(rules, algorithm="gcra", exempt=["/v2/{tenant_id}/limits"])
        assert met(busy, path) == met(fresh, path)


def test_counters_with_long_keys_are_not_remembered() -> None:
    table = table_of(*(rate(f"r{number}", regex="/(.*)") for number in range(40)))

    for number in range(10):
        assert len(names(table, f"/{'x' * 200}{number}")) == 40

    assert len(table._memo) == 0


def test_a_path_of_many_blanks_is_read_in_one_pass() -> None:
    """Quadratic time would be an hour; a head of 64 KiB took seconds."""
    table = table_of(rate("images", path="/images/{id}", per=("id",)))
    blanks = " " * 500_000

    paths = f"/images/x{blanks}y", f"/images/x{blanks}"
    within, at_the_end = (table.targets("GET", path, b"", "")[0].key for path in paths)

    assert within.count("%20") == len(blanks)
    assert at_the_end == table.targets("GET", "/images/x", b"", "")[0].key
