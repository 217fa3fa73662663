"""Rules, rates and routes that no request meets are warnings; those that one may meet are not."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.preflight.configured import said

SHADOWED = [
    "[{path: '/v2.1/{t}/servers/**', roles: [a]}, {path: '/v2/{t}/servers/**', roles: []}]",
    "[{path: '/v2.1/**', roles: [a]}, {path: '/servers/{s}', roles: [b]}]",
    "[{path: '/v2.1/**', roles: [ANY]}, {path: '/v2.1/{t}/servers', methods: [DELETE], roles: [admin]}]",
    "[{path: '/a/{x}', roles: [a]}, {path: '/a/{y}', roles: [b]}]",
    "[{path: '/a/*', roles: [a]}, {path: '/a/b', roles: [b]}]",
    "[{path: '/a', methods: [GET], roles: [a]}, {path: '/a', methods: [HEAD], roles: [b]}]",
    "[{path: '/a/{x:[0-9]+}', roles: [a]}, {path: '/a/{y:[0-9]+}', roles: [b]}]",
    "[{path: '/**', roles: [a]}, {path: '/a/{y:[0-9]+}/**', roles: [b]}]",
]
REACHED = [
    "[{path: '/v2.1/{t}/servers/**', roles: [a], exact: true}, {path: '/v2/{t}/servers/**', roles: []}]",
    "[{path: '/v2.1/{t}/servers', methods: [DELETE], roles: [admin]}, {path: '/v2.1/**', roles: [ANY]}]",
    "[{path: '/a', methods: [GET], roles: [a]}, {path: '/a', roles: [b]}]",
    "[{path: '/a', methods: [GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS], roles: [a]}, "
    "{path: '/a', roles: [b]}]",
    "[{path: '/a/b', roles: [a]}, {path: '/a/{x}', roles: [b]}]",
    "[{path: '/a/{x}', roles: [a]}, {path: '/a/**', roles: [b]}]",
    "[{path: '/a/{x:[0-9]+}', roles: [a]}, {path: '/a/{y}', roles: [b]}]",
    "[{path: '/a/{x:[0-9]{1,3}}', roles: [a]}, {path: '/a/{y:[0-9]+}', roles: [b]}]",
]


@pytest.mark.parametrize("rules", SHADOWED)
def test_a_rule_behind_one_that_always_matches_is_a_warning(tmp_path: Path, rules: str) -> None:
    found = said(tmp_path, authorization=f"{{rules: {rules}}}")

    assert len(found) == 1
    assert found[0].startswith("metaproxy.yaml:6: authorization.rules[1].path: warning: ")
    assert "is never asked: rules[0]" in found[0]


@pytest.mark.parametrize("rules", REACHED)
def test_a_rule_that_may_decide_is_not(tmp_path: Path, rules: str) -> None:
    assert said(tmp_path, authorization=f"{{rules: {rules}}}") == []


@pytest.mark.parametrize(
    ("rule", "key", "why"),
    [
        ("path: '/servers?limit=1'", "path", "a path has no query"),
        ("path: '/a%20b'", "path", "after decoding"),
        ("path: '/v2.1/{tenant_id}/limits', methods: [GET]", "path", "it is limits.endpoint"),
        ("regex: 'servers/.*'", "regex", "starts with /"),
    ],
)
def test_a_rate_that_no_request_meets_is_a_warning(tmp_path: Path, rule: str, key: str, why: str) -> None:
    found = said(tmp_path, limits=f"{{rates: [{{name: a, rate: 1/second, {rule}}}]}}")

    assert len(found) == 1
    assert found[0].startswith(f"metaproxy.yaml:5: limits.rates[0].{key}: warning: ")
    assert why in found[0]


@pytest.mark.parametrize(
    "rule",
    [
        "path: /servers",
        "path: '/v2.1/{tenant_id}/limits'",
        "path: '/a/{x:[0-9a-f-]{36}}'",
        "path: '/a/{x:odd-[xyz]{9}}'",
        "path: '/**'",
        "path: '/a', groups: [gold]",
        "path: '/a', query: [limit]",
        "regex: '/servers/.*'",
        "regex: '(?:/a|/b)'",
        "regex: '.*/servers'",
    ],
)
def test_a_rate_that_a_request_may_meet_is_not(tmp_path: Path, rule: str) -> None:
    assert said(tmp_path, limits=f"{{rates: [{{name: a, rate: 1/second, {rule}}}]}}") == []


@pytest.mark.parametrize(
    ("cache", "key"),
    [
        ("routes: [{path: '/v2.1/{tenant_id}/limits'}]", "path"),
        ("routes: [{path: '/v2.1/{p}/limits'}]", "path"),
        ("routes: [{path: '/a?b=c'}]", "path"),
        ("respect_origin: false, routes: [{path: /a, ttl: 0s}]", "ttl"),
    ],
)
def test_a_route_that_stores_nothing_is_a_warning(tmp_path: Path, cache: str, key: str) -> None:
    found = said(tmp_path, cache=f"{{{cache}}}")

    assert len(found) == 1
    assert found[0].startswith(f"metaproxy.yaml:6: cache.routes[0].{key}: warning: ")


def test_a_route_that_is_less_specific_than_another_is_not(tmp_path: Path) -> None:
    assert said(tmp_path, cache="{routes: [{path: '/**'}, {path: '/a/{x}'}, {path: '/a/b'}]}") == []


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("/a?b=c", "has no query"),
        ("/a%20b", "after decoding"),
        ("/v2.1//images", "an empty segment is refused"),
        ("/a/../b", "a dot segment is refused"),
        ("/a;x/b", "parameters is refused"),
    ],
)
@pytest.mark.parametrize(
    ("section", "written", "key"),
    [
        ("authorization", "{rules: [{path: 'TEMPLATE', roles: [a]}]}", "authorization.rules[0].path"),
        ("limits", "{rates: [{name: a, rate: 1/second, path: 'TEMPLATE'}]}", "limits.rates[0].path"),
        ("limits", "{endpoint: 'TEMPLATE', rates: [{name: a, rate: 1/second}]}", "limits.endpoint"),
        ("cache", "{routes: [{path: 'TEMPLATE'}]}", "cache.routes[0].path"),
    ],
)
def test_a_template_that_no_path_fits_is_a_warning(
    tmp_path: Path, template: str, why: str, section: str, written: str, key: str
) -> None:
    sections: dict[str, Any] = {section: written.replace("TEMPLATE", template)}

    [found] = said(tmp_path, **sections)

    assert f"{key}: warning: {template} can never match: " in found
    assert why in found


def test_a_route_for_another_name_of_the_same_resource_is_a_warning(tmp_path: Path) -> None:
    routes = "{routes: [{path: '/v2.1/{t}/images/{i}'}, {path: '/v2/{t}/images/{i}'}]}"

    [found] = said(tmp_path, cache=routes)

    assert "cache.routes[1].path: warning: /v2/{t}/images/{i} is never used" in found
    assert "exact: true" in found
