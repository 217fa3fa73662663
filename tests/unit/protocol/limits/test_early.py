"""Rates before identity: those that need the tenant of each path are told apart from those that do not."""

from typing import Any

import pytest

from metaproxy.protocol.limits.early import refuse_tenants, tenant_problem
from metaproxy.protocol.limits.rates import RateRule, RuleError
from metaproxy.protocol.mount import Mount
from metaproxy.settings.units import Rate

MOUNT = Mount("/compute")


def before(**said: Any) -> RateRule:
    return RateRule(name="r", rate=Rate(1, "minute"), before="identity", **{"per": ("address",), **said})


@pytest.mark.parametrize(
    ("path", "per"),
    [
        ("/v2.1/{tenant_id}/servers/**", "tenant_id"),
        ("/v2.1/{tenant_id}/**", "tenant_id"),
        ("/v2.1/{tenant_id}/secret/**", "tenant_id"),
        ("/v2/{t:[0-9a-f]{32}}/servers/**", "t"),
        ("/{tenant_id}/servers/**", "tenant_id"),
        ("/{version}/{t}/{kind}/**", "t"),
        ("/{a}/{b}/**", "b"),
        ("/compute/v2.1/{tenant_id}/servers/**", "tenant_id"),
        ("/v2/p1/servers/**", "address"),
        ("/compute/v2/p1/servers/**", "address"),
    ],
)
def test_a_template_that_counts_by_tenant_or_names_one_tenant_problem(path: str, per: str) -> None:
    assert tenant_problem(before(path=path, per=(per,)), MOUNT)
    assert tenant_problem(before(path=path, per=tuple({per, "address"})), MOUNT)


@pytest.mark.parametrize(
    "regex",
    [
        r"/v2\.1/([^/]+)/images/.*",
        r"/v2(?:\.1)?/([0-9a-f]{32})/images/(.*)",
        r"/v2\.1(/[^/]+)?/servers",
        r"/compute/v2\.1/([^/]+)/servers",
        r"/v2\.1/p1/images/.*",
        r"/(.*)",
        r"(/.*)",
        r"(.*)",
        r".*/([0-9a-f-]{32,36})/servers",
        r"/v2\.1/([[:alnum:]]+)/servers",
        r"/v[0-9.]+/([^/]+)/servers.*",
        r"/v\d(?:\.\d)?/([^/]+)/servers",
        r"/v\d+\.\d+/([^/]+)/.*",
    ],
)
def test_an_expression_that_captures_a_tenant_or_names_one_tenant_problem(regex: str) -> None:
    assert tenant_problem(before(regex=regex), MOUNT)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2.1/",
        "/healthcheck",
        "/**",
        "/v2.1/**",
        "/compute/**",
        "/thing/**",
        "/v2.1/{tenant_id}/servers/**",
        "/v2.1/{tenant_id}/secret/{x}/**",
        "/v2.1/{t:[0-9a-f]{32}}/images/{i:[0-9a-f-]{36}}",
        "/compute/v2.1/{tenant_id}/limits",
    ],
)
def test_a_template_that_is_counted_by_address_does_not(path: str) -> None:
    assert not tenant_problem(before(path=path), MOUNT)


@pytest.mark.parametrize(
    "path",
    [
        "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}",
        "/{version:v2|v2\\.1}/{tenant_id}/images/{image_id}",
        "/images/{image_id}/**",
        "/compute/v2.1/{t}/images/{image_id}",
        "/thing/{image_id}",
    ],
)
def test_a_template_that_is_counted_by_what_every_name_has_does_not(path: str) -> None:
    assert not tenant_problem(before(path=path, per=("image_id",)), MOUNT)


@pytest.mark.parametrize(
    "regex",
    [
        r"/v2\.1/[^/]+/images/(.*)",
        r"/v2\.1/[^/]+/(servers|flavors)(?:/.*)?",
        r".*/(servers|flavors)(?:/.*)?",
        r"(?:/v2\.1)?/images/([^/]+)",
        r"/(foo|bar)/([0-9]+)",
        r".*/images/([^/]+)(/.*)?",
        r".*/servers/([^/]+)/metadata(/.*)?",
        r"/.*",
        r".*",
    ],
)
def test_an_expression_that_captures_what_every_name_has_does_not(regex: str) -> None:
    assert not tenant_problem(before(regex=regex), MOUNT)


@pytest.mark.parametrize("more", [{"exact": True}, {"capture_groups": False}])
def test_a_rule_that_says_so_does_not(more: dict[str, Any]) -> None:
    assert not tenant_problem(before(regex=r"/v2\.1/([^/]+)/images/(.*)", **more), MOUNT)


def test_the_refusal_names_the_rate_and_what_to_do() -> None:
    with pytest.raises(RuleError, match=r"^rate 'r': before identity .*write exact: true, or remove before$"):
        refuse_tenants(before(path="/v2.1/{tenant_id}/servers", per=("tenant_id",)))


@pytest.mark.parametrize(
    ("regex", "one", "other"),
    [
        (".*/metadata/.*", "/v2.1/metadata/servers", "/v2.1/servers"),
        (r"/v2\.1/p1/images/1", "/v2.1/p1/images/1", "/v2.1/images/1"),
    ],
)
def test_the_refusal_names_two_paths_that_are_not_counted_together(regex: str, one: str, other: str) -> None:
    assert f"does not count {one} and {other} together" in tenant_problem(before(regex=regex))
