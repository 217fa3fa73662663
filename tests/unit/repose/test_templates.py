"""Expressions of paths that are templates."""

import pytest

from metaproxy.config.repose.templates import template_of, tenant_template_of


@pytest.mark.parametrize(
    ("java", "template"),
    [
        ("/", "/"),
        ("^/$", "/"),
        ("/v2.1/?", "/v2.1"),
        (r"/v2\.1/[^/]+/limits", "/v2.1/{tenant_id}/limits"),
        ("/v2/([^/]+)/limits/?", "/v2/{tenant_id}/limits"),
        (r"/v2/\w+/images/\d+/metadata", "/v2/{tenant_id}/images/{segment_4}/metadata"),
        ("/v2/[^/]*/images/.*", "/v2/{tenant_id}/images/**"),
        ("/v2(/.*)?", "/v2/**"),
        ("/(health|ping)", None),
        ("/v2/ab+c", None),
        ("/v2/.*/limits", "/v2/{tenant_id}/limits"),
        (".*/limits", None),
        ("/v2|/v3", None),
        ("/a//b", None),
        ("", "/"),
    ],
)
def test_a_simple_expression_is_a_template(java: str, template: str | None) -> None:
    assert template_of(java) == template


@pytest.mark.parametrize(
    ("java", "template"),
    [
        (r".*/v2\.1/([-\w]+)/?.*", "/v2.1/{tenant_id}/**"),
        ("/v2/([^/?]+).*", "/v2/{tenant_id}/**"),
        ("/([^/]+)/.*", "/{tenant_id}/**"),
        ("/v2/[^/]+/.*", None),
        ("/v(1|2)/(.*)", None),
    ],
)
def test_an_expression_that_finds_the_tenant_is_a_template(java: str, template: str | None) -> None:
    assert tenant_template_of(java) == template
