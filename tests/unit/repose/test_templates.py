"""Expressions of paths that are templates."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.config.repose.templates import open_templates_of, template_of, tenant_template_of
from metaproxy.protocol.routes import RouteTable


@pytest.mark.parametrize(
    ("java", "template"),
    [
        ("/", "/"),
        ("^/$", "/"),
        ("/v2.1/?", "/v2.1"),
        (r"/v2\.1/[^/]+/limits", "/v2.1/{tenant_id}/limits"),
        ("/v2/([^/]+)/limits/?", "/v2/{tenant_id}/limits"),
        (
            r"/v2/\w+/images/\d+/metadata",
            "/v2/{tenant_id:[A-Za-z0-9_]+}/images/{segment_4:[0-9]+}/metadata",
        ),
        ("/v2/[^/]*/images/.*", None),
        ("/v2(/.*)?", None),
        ("/(health|ping)", "/{segment_1:(health|ping)}"),
        ("/v2/ab+c", "/v2/{tenant_id:ab+c}"),
        ("/v2/.*/limits", None),
        (".*/limits", None),
        ("/v2|/v3", None),
        ("/a//b", None),
        ("", None),
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


@pytest.mark.parametrize(
    ("java", "templates"),
    [
        ("/docs/.*", ["/docs/", "/docs/{rest}/**"]),
        ("/docs/.+", ["/docs/{rest}/**"]),
        ("/docs(/.*)?", ["/docs/**"]),
        ("/version/?", ["/version", "/version/"]),
        ("/a|^/b$", ["/a", "/b"]),
        (r"\/open\/\d+", ["/open/{segment_2:[0-9]+}"]),
        ("/files/[0-9a-f]{8}", ["/files/{segment_2:[0-9a-f]{8}}"]),
        (".*", ["/**"]),
        ("^$", []),
        ("", []),
        ("/docs.*", None),
        ("/a/.*/b", None),
        ("/(a|b/c)", None),
        ("/(?!secret)[a-z]+", None),
        ("/[^/]*secret", None),
        ("/x(?i)y", None),
        ("/a)|(/b", None),
    ],
)
def test_templates_of_open_paths_match_no_more_than_the_expression(
    java: str, templates: list[str] | None
) -> None:
    assert open_templates_of(java) == templates


SEGMENTS = st.sampled_from(
    [
        "v2",
        "v2.1",
        r"v2\.1",
        "docs",
        r"\d+",
        "[0-9]+",
        r"\w*",
        "[^/]+",
        "(a|b)",
        "a?b",
        "[a-c]{2}",
        ".*",
        ".+",
        "x.y",
    ]
)
WORDS = st.sampled_from(
    ["v2", "v2.1", "v2x1", "docs", "12", "a", "b", "ab", "cc", "x.y", "xzy", "\u0661", ""]
)


@given(
    st.lists(SEGMENTS, min_size=1, max_size=3),
    st.sampled_from(["", "/?", "/.*", "(/.*)?", "/.+", "$"]),
    st.data(),
)
def test_no_template_opens_a_path_that_the_expression_does_not_match(
    segments: list[str], ending: str, data: st.DataObject
) -> None:
    java = "".join(f"/{segment}" for segment in segments) + ending
    paths: RouteTable[None] = RouteTable()
    for template in open_templates_of(java) or ():
        paths.add(template, None)
    path = "/" + "/".join(data.draw(st.lists(WORDS, max_size=4)))

    assert not paths.has(path) or re.fullmatch(java, path, re.ASCII)
