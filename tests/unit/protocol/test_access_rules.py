"""Rules that say which roles may use which method on which path."""

import pytest

from metaproxy.protocol.access_rules import AccessRule, AccessRules, allows


def allowed(rules: list[AccessRule], method: str, path: str, *roles: str) -> bool:
    return allows(AccessRules(rules).for_path(path), method, roles)


def test_without_a_rule_everything_is_allowed() -> None:
    assert allowed([], "DELETE", "/a")
    assert allowed([AccessRule(path="/b", roles=())], "DELETE", "/a")


@pytest.mark.parametrize(
    ("roles", "all_roles", "held", "passes"),
    [
        (("a", "b"), False, ["b"], True),
        (("a", "b"), False, ["c"], False),
        (("a", "b"), True, ["a"], False),
        (("a", "b"), True, ["a", "b", "c"], True),
        ((), False, ["a"], False),
        ((), True, ["a"], False),
        (("ANY",), False, [], True),
    ],
)
def test_roles_decide(roles: tuple[str, ...], all_roles: bool, held: list[str], passes: bool) -> None:
    rule = AccessRule(path="/a", roles=roles, all_roles=all_roles)

    assert allowed([rule], "GET", "/a", *held) is passes


def test_the_first_rule_that_speaks_of_the_method_decides_whichever_path_is_more_specific() -> None:
    rules = [
        AccessRule(path="/a/**", methods=("PUT",), roles=("writer",)),
        AccessRule(path="/a/b", roles=("ANY",)),
        AccessRule(path="/a/**", roles=()),
    ]

    assert not allowed(rules, "PUT", "/a/b", "reader")
    assert allowed(rules, "PUT", "/a/b", "writer")
    assert allowed(rules, "GET", "/a/b")
    assert not allowed(rules, "GET", "/a/c", "writer")


def test_get_speaks_of_head_too() -> None:
    rule = AccessRule(path="/a", methods=("GET",), roles=("reader",))

    assert not allowed([rule], "HEAD", "/a")


@pytest.mark.parametrize("path", ["/a", "/a/", "/a.json", "/a.xml", "/a.json/"])
def test_a_resource_is_judged_under_all_its_names(path: str) -> None:
    assert not allowed([AccessRule(path="/a", roles=())], "GET", path)


def test_a_suffix_may_be_part_of_a_name_with_a_rule_of_its_own() -> None:
    rules = [AccessRule(path="/a.json", roles=("x",)), AccessRule(path="/a", roles=("ANY",))]

    assert not allowed(rules, "GET", "/a.json")
    assert allowed(rules, "GET", "/a")


def test_lines_of_simple_rbac_fit() -> None:
    # /path/to/this  GET  ANY        /path/to/this  PUT,POST  role1,role2        /path/to/this  ALL  role3
    rules = [
        AccessRule(path="/path/to/this", methods=("GET",), roles=("ANY",)),
        AccessRule(path="/path/to/this", methods=("PUT", "POST"), roles=("role1", "role2")),
        AccessRule(path="/path/to/this", methods=("ALL",), roles=("role3",)),
    ]

    assert allowed(rules, "GET", "/path/to/this")
    assert allowed(rules, "POST", "/path/to/this", "role2")
    assert not allowed(rules, "POST", "/path/to/this", "role3")
    assert allowed(rules, "DELETE", "/path/to/this", "role3")
