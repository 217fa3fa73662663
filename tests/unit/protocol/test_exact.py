"""Exact rules and open paths: what is written, and no other name of it."""

import pytest

from metaproxy.protocol.access_rules import AccessRule, AccessRules, allows
from metaproxy.protocol.open_paths import OpenPaths

OTHERS = [
    "/v2/images",
    "/images",
    "/v2.1/p1/images",
    "/v2.1/images/",
    "/v2.1/images.json",
    "/v2.1/images.xml/",
]


@pytest.mark.parametrize("path", OTHERS)
def test_an_exact_rule_allows_no_other_name_of_its_path(path: str) -> None:
    rules = [AccessRule(path="/v2.1/images", roles=("a",), exact=True), AccessRule(path="/**", roles=())]
    compiled = AccessRules(rules)
    assert allows(compiled.for_path("/v2.1/images"), "GET", ("a",))
    assert not allows(compiled.for_path(path, "p1"), "GET", ("a",))


@pytest.mark.parametrize("path", OTHERS)
def test_an_exact_open_path_opens_no_other_name_of_it(path: str) -> None:
    paths = OpenPaths(["/v2.1/images"], exact=True)
    assert paths.has("/v2.1/images")
    assert not paths.has(path)


def test_an_exact_open_path_may_end_in_a_slash() -> None:
    paths = OpenPaths(["/docs/", "/docs/{rest}/**"], exact=True)
    assert [paths.has(path) for path in ("/docs/", "/docs/a", "/docs/a/", "/docs")] == [
        True,
        True,
        True,
        False,
    ]
