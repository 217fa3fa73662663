"""Paths that a reader who ignores case takes for others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.protocol.spelling import Spellings

TEMPLATES = (
    "/v2.1/{tenant_id}/**",
    "/v2.1/{tenant_id}/images",
    "/v2.1/{tenant_id}/images/detail",
    "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}",
    "/v2.1/{tenant_id}/servers/{id:[0-9a-f]+}",
    "/v2.1/{tenant_id}/volumes/{id:(?i)[a-f]+}",
    "/OS-KSADM/*",
)

SAME = [
    "/",
    "/unknown/Path",
    "/v2.1/Red",
    "/v2.1/RED/Anything/at/All",
    "/v2.1/red/images",
    "/v2.1/red/images/",
    "/v2.1/red/images/detail.json",
    "/v2.1/red/images/ABC/metadata/Label",
    "/v2.1/red/servers/0f",
    "/v2.1/red/volumes/AB",
    "/OS-KSADM/Roles",
    "/v2.1/red/images/a b/metadata/the key ",
    "/v2.1/red/images/ab /metadata/ ",
]
OTHER = [
    "/V2.1/red",
    "/V2.1/red/servers",
    "/v2.1/red/Images",
    "/v2.1/red/Images/",
    "/v2.1/red/images/Detail",
    "/v2.1/red/images/Detail.json",
    "/v2.1/red/images/detail.JSON",
    "/v2.1/red/images/abc/METADATA/label",
    "/v2.1/red/ſervers/0f",
    "/v2.1/red/servers/0F",
    "/os-ksadm/Roles",
    "/v2.1/red/images ",
    "/v2.1/red/images/detail  ",
    "/v2.1/red/servers/0f ",
    "/OS-Ksadm/Roles",
]


@pytest.mark.parametrize("path", SAME)
def test_a_path_that_means_the_same_to_all_readers_is_taken(path: str) -> None:
    assert not Spellings(TEMPLATES).problem(path)


@pytest.mark.parametrize("path", OTHER)
def test_a_path_that_is_another_one_without_case_or_blanks_is_not(path: str) -> None:
    ignored = "blanks at the end of a name are" if path.endswith(" ") else "case is"

    assert Spellings(TEMPLATES).problem(path) == f"the path is another one if {ignored} ignored"


@pytest.mark.parametrize("path", ["/v2.1/red/images/AB-1/metadata", "/v2.1/red/images/ab-1 /metadata"])
def test_an_id_that_a_template_names_is_not_taken_in_another_spelling(path: str) -> None:
    assert Spellings(["/v2.1/{tenant_id}/images/ab-1/**", *TEMPLATES]).problem(path)
    assert not Spellings(TEMPLATES).problem(path)


def test_without_templates_every_path_is_taken() -> None:
    assert not Spellings(()).problem("/V2.1/red")


LOWER = Spellings(template for template in TEMPLATES if template == template.lower())
segments = st.sampled_from(["v2.1", "V2.1", "red", "RED", "images", "Images", "detail", "metadata", "x", ""])


@settings(deadline=None)
@given(st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)))
def test_a_path_in_the_case_of_its_templates_is_always_taken(path: str) -> None:
    assert not LOWER.problem(path.lower())
