"""Blanks at the ends of what a file says: part of it in Repose, unless the schema takes them off."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaproxy.config import ConfigError, load_config
from metaproxy.config.repose import Imported, import_folder
from tests.unit.repose.folders import KEYSTONE, RATES, RBAC, Folder

V3 = """\
<openstack-identity-v3 xmlns="http://docs.openrepose.org/repose/openstack-identity-v3/v1.0">
<openstack-identity-service uri="http://identity.internal" username="u" password="p"/>
{}
</openstack-identity-v3>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "repose")


def opened(imported: Imported) -> list[str]:
    """Return the open paths that an import writes."""
    lines = imported.yaml.splitlines()
    at = next(index for index, line in enumerate(lines) if line.strip().startswith("anonymous:"))
    listed = (line.partition("#")[0].strip() for line in lines[at + 1 :])
    return [line.removeprefix("- ") for line in listed if line.startswith("- /")]


LITERAL = st.sampled_from([" ", "\n", "\r\n  ", "\t", "&#10;", "&#13;", "&#160;", "&#8195;", "<!-- -->\n"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(before=st.one_of(st.just(""), LITERAL), after=st.one_of(st.just(""), LITERAL))
def test_an_open_path_with_blanks_around_it_opens_nothing(folder: Folder, before: str, after: str) -> None:
    folder.write(KEYSTONE, keystone=f"<white-list><uri-regex>{before}/nl{after}</uri-regex></white-list>")

    imported = import_folder(folder.path)

    is_exact = not before + after
    assert ("keystone-v2/white-list" in imported.not_converted) is not is_exact
    assert opened(imported) == (["/nl"] if is_exact else [])


def test_an_entry_of_blanks_alone_is_closed(folder: Folder) -> None:
    folder.write(KEYSTONE, keystone="<white-list><uri-regex> </uri-regex></white-list>")

    assert import_folder(folder.path).not_converted == ("keystone-v2/white-list",)


def test_an_entry_that_is_accepted_all_the_same_opens_nothing(folder: Folder) -> None:
    folder.write(KEYSTONE, keystone="<white-list><uri-regex>\n  /nl\n</uri-regex></white-list>")

    assert opened(import_folder(folder.path, ["keystone-v2/white-list"])) == []


@pytest.mark.parametrize(
    ("chain", "part", "text", "guard"),
    [
        (KEYSTONE, "keystone", "<pre-authorized-roles><role> admin </role></pre-authorized-roles>", "text"),
        (KEYSTONE, "keystone", "<pre-authorized-roles><role>admin\n</role></pre-authorized-roles>", "text"),
        (KEYSTONE, "keystone", "<pre-authorized-roles><role> </role></pre-authorized-roles>", "text"),
        (KEYSTONE, "service@", "connection-pool-id=' x'", "connection-pool-id"),
        (
            KEYSTONE,
            "keystone",
            "<tenant-handling><validate-tenant strip-token-tenant-prefixes='a: '/></tenant-handling>",
            "strip-token-tenant-prefixes",
        ),
        (KEYSTONE + RATES, "limit@", "uri-regex=' /k'", "uri-regex"),
        (KEYSTONE + RATES, "limit@", "uri-regex='/k&#10;'", "uri-regex"),
        (KEYSTONE + RATES, "limit@", "uri-regex='.*\n'", "uri-regex"),
        (KEYSTONE + RATES, "limit@", "unit='MINUTE '", "unit"),
        (KEYSTONE + RATES, "rates@", "datastore='local/default '", "datastore"),
        (KEYSTONE + RATES, "rates", "<request-endpoint uri-regex='/limits '/>", "uri-regex"),
        (KEYSTONE + RBAC, "rbac@", "roles-header-name='X-Roles '", "roles-header-name"),
        (KEYSTONE + RBAC, "lines", "/a GET&#160; admin", "line"),
        (KEYSTONE + RBAC, "lines", "/a GET ANY,&#160;", "line"),
        (KEYSTONE + RBAC, "lines", "/a GET &#160;admin", "line"),
        (KEYSTONE + RBAC, "lines", "&#160;/a GET ANY", "line"),
        ("<filter name='keystone-v2' uri-regex='.* '/>", "", "", "uri-regex"),
        ("<filter name='keystone-v2 '/>", "", "", "name"),
        (KEYSTONE, "endpoint@", "root-path='/ '", "root-path"),
    ],
)
def test_a_value_with_blanks_at_its_ends_is_not_converted(
    folder: Folder, tmp_path: Path, chain: str, part: str, text: str, guard: str
) -> None:
    folder.write_parts(chain, {part: text} if part else {})

    imported = import_folder(folder.path)

    assert guard in {name.partition("/")[2] for name in imported.not_converted}
    file = tmp_path / "m.yaml"
    file.write_text(imported.yaml)
    with pytest.raises(ConfigError, match=r"imported\.not_converted\[0\]"):
        load_config(file, environ={"IDENTITY_PASSWORD": "x"})


@pytest.mark.parametrize(
    "below",
    [
        "<white-list><uri-pattern> /pub</uri-pattern></white-list>",
        "<roles-which-bypass-project-id-check><role>admin </role></roles-which-bypass-project-id-check>",
        "<pre-authorized-roles><role>\nadmin</role></pre-authorized-roles>",
        "<validate-project-id-in-uri regex='/v2/([^/]+)/.* '/>",
    ],
)
def test_the_filter_of_v3_is_closed_likewise(folder: Folder, below: str) -> None:
    folder.write("<filter name='openstack-identity-v3'/>")
    (folder.path / "openstack-identity-v3.cfg.xml").write_text(V3.format(below))

    assert import_folder(folder.path).not_converted


@pytest.mark.parametrize(
    ("chain", "parts"),
    [
        (KEYSTONE, {"keystone": "<cache><timeouts> <token> 60 </token> </timeouts></cache>"}),
        (KEYSTONE, {"keystone": "\n  <white-list>\n <uri-regex>/nl</uri-regex>\n </white-list>\n"}),
        (KEYSTONE, {"service@": "set-groups-in-header=' true '"}),
        (KEYSTONE + RATES, {"limit@": "http-methods=' GET  PUT '"}),
        (KEYSTONE + RATES, {"limit@": "value=' 5 '"}),
        (KEYSTONE + RATES, {"limit@": "query-param-names=' q\n'"}),
        (KEYSTONE + RBAC, {"lines": "\n   /images GET,PUT admin  \n\t\n"}),
    ],
)
def test_blanks_that_the_schema_takes_off_close_nothing(
    folder: Folder, chain: str, parts: dict[str, str]
) -> None:
    folder.write_parts(chain, parts)

    assert import_folder(folder.path).not_converted == ()


def test_the_report_says_what_is_to_be_done(folder: Folder) -> None:
    folder.write_parts(KEYSTONE + RATES, {"limit@": "uri-regex='/k '"})

    notes = [str(note) for note in import_folder(folder.path).notes if note.guard]

    assert len(notes) == 1
    assert "@uri-regex: has blanks at its ends, which were part of it in Repose" in notes[0]
