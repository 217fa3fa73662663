"""An import that cannot convert a guard is closed: exit code 2, and a file that does not start."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metaproxy.cli import application
from metaproxy.config import ConfigError, load_config
from metaproxy.config.repose import Imported, ReposeError, import_folder
from tests.unit.repose.folders import DERP, KEYSTONE, RATES, RBAC, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "repose")


def run(folder: Folder, output: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        application(), ["import-repose", str(folder.path), "-o", str(output), *arguments]
    )


def guards(folder: Folder, *accepted: str) -> tuple[str, ...]:
    return import_folder(folder.path, accepted).not_converted


def test_a_guard_that_is_not_converted_ends_with_2_and_is_named_with_file_line_and_element(
    folder: Folder, tmp_path: Path
) -> None:
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>")
    result = run(folder, tmp_path / "m.yaml")
    assert result.exit_code == 2
    assert "not converted: regex-rbac: system-model.cfg.xml:5: " in result.stderr
    assert "filter 'regex-rbac': refused by role" in result.stderr
    assert "--accept-open regex-rbac" in result.stderr


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"]])
def test_the_file_of_a_closed_import_is_refused_at_the_line_that_names_the_guard(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("IDENTITY_PASSWORD", "x")
    output = tmp_path / "m.yaml"
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>", "<filter name='valkyrie-authorization'/>")
    run(folder, output)
    lines = output.read_text().splitlines()

    result = CliRunner().invoke(application(), [*command, str(output)])

    assert result.exit_code == 2
    for index, name in enumerate(["regex-rbac", "valkyrie-authorization"]):
        line = lines.index(f"    - {name}") + 1
        told = f"m.yaml:{line}: imported.not_converted[{index}]: {name} may have refused requests"
        assert told in result.output


def test_a_file_whose_last_guard_was_taken_out_loads(folder: Folder, tmp_path: Path) -> None:
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>")
    output = tmp_path / "m.yaml"
    run(folder, output)
    output.write_text(output.read_text().replace("    - regex-rbac\n", "    []\n"))
    assert load_config(output, environ={"IDENTITY_PASSWORD": "x"}).imported.not_converted == ()


def test_a_guard_that_is_accepted_by_name_is_open_and_told(folder: Folder, tmp_path: Path) -> None:
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>")
    output = tmp_path / "m.yaml"
    result = run(folder, output, "--accept-open", "regex-rbac")
    assert (result.exit_code, "open: regex-rbac: " in result.stderr) == (0, True)
    assert "# Open by --accept-open: regex-rbac: " in output.read_text()


def test_the_name_of_a_filter_accepts_all_its_guards_and_no_others(folder: Folder) -> None:
    lists = "<white-list><uri-regex>/a.*</uri-regex></white-list>"
    endpoint = "<require-service-endpoint public-url='u'/>"
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>", keystone=lists + endpoint)
    assert set(guards(folder)) == {
        "regex-rbac",
        "keystone-v2/white-list",
        "keystone-v2/require-service-endpoint",
    }
    assert guards(folder, "keystone-v2") == ("regex-rbac",)
    assert set(guards(folder, "keystone-v2/white-list")) == {
        "regex-rbac",
        "keystone-v2/require-service-endpoint",
    }


def test_a_name_that_meets_no_guard_is_an_error(folder: Folder) -> None:
    folder.write(KEYSTONE, "<filter name='regex-rbac'/>")
    with pytest.raises(ReposeError, match="--accept-open regex-rbak: no guard"):
        guards(folder, "regex-rbak", "regex-rbac")


def test_what_is_converted_wholly_is_not_closed(folder: Folder) -> None:
    folder.write(KEYSTONE, RBAC, lines="/images/{id} GET,PUT admin\n/images ALL ANY")
    assert guards(folder) == ()


V3 = """\
<openstack-identity-v3 xmlns="http://docs.openrepose.org/repose/openstack-identity-v3/v1.0">
<openstack-identity-service uri="http://identity.internal" username="u" password="p"/>
</openstack-identity-v3>
"""


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ("<limit-group id='g' groups='' default='true'>{}</limit-group>", ("rate-limiting/user-name",)),
        ("<global-limit-group>{}</global-limit-group>", ()),
    ],
    ids=["users", "global"],
)
def test_limits_of_users_by_a_name_that_two_domains_may_have_are_closed_and_global_ones_are_not(
    folder: Folder, limits: str, named: tuple[str, ...]
) -> None:
    folder.write("<filter name='openstack-identity-v3'/>", RATES)
    (folder.path / "openstack-identity-v3.cfg.xml").write_text(V3)
    limit = "<limit id='l' uri='*' uri-regex='.*' http-methods='ALL' unit='MINUTE' value='3'/>"
    (folder.path / "rate-limiting.cfg.xml").write_text(
        "<rate-limiting xmlns='http://docs.openrepose.org/repose/rate-limiting/v1.0'>"
        f"{limits.format(limit)}</rate-limiting>"
    )
    assert guards(folder) == named


@pytest.mark.parametrize(
    ("lines", "overlaps"),
    [
        ("/images ALL admin\n/images GET ANY", True),
        ("/parts/{any}/x GET guest\n/parts/fixed/x GET clerk", True),
        ("/images GET ANY\n/images GET admin", False),
        ("/images GET admin\n/images PUT clerk", False),
        ("/images GET admin\n/images/{id} GET clerk", False),
        ("/images GET admin\n/images GET admin", False),
    ],
)
def test_a_line_that_an_earlier_one_may_decide_for_is_told(
    folder: Folder, lines: str, overlaps: bool
) -> None:
    folder.write(KEYSTONE, RBAC, lines=lines)
    told = [
        note
        for note in import_folder(folder.path).notes
        if "decides where both speak" in note.says and "line 2" in note.place
    ]
    assert len(told) == overlaps


LETTERS = {"K": KEYSTONE, "B": RBAC, "R": RATES, "D": DERP}

CLOSED = """
K|keystone@|unheard-of='1'|keystone-v2/unheard-of
K|keystone|<unheard-of/>|keystone-v2/unheard-of
K|keystone|<x:white-list xmlns:x='urn:x'/>|keystone-v2/white-list
K|keystone@|xmlns:x='urn:x' x:base='1'|keystone-v2/base
K|service@|set-groups-in-header='yes'|keystone-v2/set-groups-in-header
K|keystone|open everything|keystone-v2/text
K|keystone|<require-service-endpoint public-url='u'/>|keystone-v2/require-service-endpoint
K|keystone@|ignored-roles='admin'|keystone-v2/ignored-roles
K|service@|set-roles-in-header='false'|keystone-v2/set-roles-in-header
K|service@|apply-rcn-roles='true'|keystone-v2/apply-rcn-roles
K|keystone|<cache><atom-feed id='f'/></cache>|keystone-v2/atom-feed
K|keystone|<tenant-handling><validate-tenant/></tenant-handling>|keystone-v2/validate-tenant
K|keystone|<delegating/>|keystone-v2/delegating
K|keystone|<white-list><uri-regex>/a.*</uri-regex></white-list>|keystone-v2/white-list
K|keystone|<white-list/><white-list/>|keystone-v2/white-list
DK|keystone|<delegating/>|keystone-v2/delegating
<filter name='keystone-v2' uri-regex='/v2/.*'/>|||keystone-v2/condition
<filter name='keystone-v2' uri-regex=''/>|||keystone-v2/condition
<filter name='keystone-v2'><methods value='GET'/></filter>|||keystone-v2/condition
<filter name='keystone-v2' unheard-of=''/>|||system-model/unheard-of
<filter name='our-own'/>|||our-own
KK|||keystone-v2
B|rbac@|roles-header-name='X-Mine'|simple-rbac/roles-header-name
B|rbac@|tenants-header-name='X-T'|simple-rbac/tenants-header-name
B|rbac|<delegating/>|simple-rbac/delegating
B|lines|/images/* GET ANY|simple-rbac/line
B|lines|/images/ GET ANY|simple-rbac/line
B|lines|/images GET|simple-rbac/line
BK|||simple-rbac/order
RK|||rate-limiting/order
R|||rate-limiting/user
KRB|||rate-limiting/order
KR|keystone|<white-list><uri-regex>/</uri-regex></white-list>|rate-limiting/white-list
KR|limit@|value='0'|rate-limiting/limit
KR|limit@|unit='WEEK'|rate-limiting/limit
KR|limit@|uri-regex='/\\p{L}+'|rate-limiting/limit
KR|limit@|query-param-names='%zz'|rate-limiting/limit
KR|limit@|http-methods='GET,PUT'|rate-limiting/http-methods
KR|group@|groups='gold'|rate-limiting/groups
KR|group@|groups='' default='yes'|rate-limiting/default
KR|rates@|datastore='distributed/remote'|rate-limiting/datastore
KR|rates|<request-endpoint uri-regex='/limits'/>|rate-limiting/request-endpoint
K|filters@|bypass-uri-regex='/x'|system-model/bypass-uri-regex
K|endpoint@|root-path='/compute'|system-model/root-path
K|endpoint@|protocol='HTTPS'|system-model/protocol
K|nodes|<node id='b' hostname='b' http-port='1'/>|system-model/nodes
K|model|<services><service name='remote-datastore'/></services>|system-model/remote-datastore
K|model|<unheard-of/>|system-model/unheard-of
"""
"""The chain, by letters or in full; the part of a file and what is written there; the guard."""


@pytest.mark.parametrize("row", CLOSED.split("\n")[1:-1])
def test_what_repose_may_have_refused_is_closed_where_it_is_not_converted(
    folder: Folder, tmp_path: Path, row: str
) -> None:
    chain, part, text, guard = row.split("|")
    filters = chain if chain.startswith("<") else "".join(LETTERS[letter] for letter in chain)
    folder.write_parts(filters, {part: text} if part else {})
    imported = import_folder(folder.path)
    assert guard in imported.not_converted
    assert_refused(imported, tmp_path)


def assert_refused(imported: Imported, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(imported.yaml)
    with pytest.raises(ConfigError, match=r"imported\.not_converted\[0\]"):
        load_config(file, environ={"IDENTITY_PASSWORD": "x"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "<keystone-v2 xmlns='http://docs.openrepose.org/repose/keystone-v2/v1.0'>{$ X $}</keystone-v2>",
            "template",
        ),
        ("<keystone-v2", "well-formed"),
        ("\xff", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_as_repose_does_gives_no_result(
    folder: Folder, text: str, why: str
) -> None:
    folder.write(KEYSTONE)
    (folder.path / "keystone-v2.cfg.xml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ReposeError, match=why):
        guards(folder)


def test_a_file_of_another_schema_is_not_converted(folder: Folder) -> None:
    folder.write(KEYSTONE)
    (folder.path / "keystone-v2.cfg.xml").write_text("<keystone-v2 xmlns='urn:other'/>")
    assert guards(folder) == ("keystone-v2",)


def test_a_filter_file_outside_of_the_folder_is_not_read(folder: Folder) -> None:
    folder.write("<filter name='keystone-v2' configuration='../keystone.cfg.xml'/>")
    (folder.path.parent / "keystone.cfg.xml").write_text("<a/>")
    with pytest.raises(ReposeError, match="is missing"):
        guards(folder)


def test_a_file_in_a_folder_below_is_read(folder: Folder) -> None:
    folder.write("<filter name='keystone-v2' configuration='auth/v2.cfg.xml'/>")
    (folder.path / "auth").mkdir()
    (folder.path / "keystone-v2.cfg.xml").rename(folder.path / "auth" / "v2.cfg.xml")
    assert guards(folder) == ()


def test_a_file_that_no_filter_uses_is_not_read(folder: Folder) -> None:
    folder.write(KEYSTONE)
    (folder.path / "uri-redaction.cfg.xml").write_text("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>")
    assert guards(folder) == ()


def test_exit_code_0_means_that_check_passes_once_the_variables_are_set(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_PASSWORD", raising=False)
    folder.write(KEYSTONE)
    output = tmp_path / "m.yaml"

    imported = run(folder, output)
    without = CliRunner().invoke(application(), ["check", str(output)])
    monkeypatch.setenv("IDENTITY_PASSWORD", "x")
    checked = CliRunner().invoke(application(), ["check", str(output)])

    assert (imported.exit_code, without.exit_code, checked.exit_code) == (0, 2, 0)
    assert "set the environment variable IDENTITY_PASSWORD" in imported.stderr
    assert imported.stderr.splitlines()[-1].endswith("until these variables are set: IDENTITY_PASSWORD")
    assert "IDENTITY_PASSWORD" in without.output


def test_the_help_says_what_exit_code_0_means() -> None:
    told = " ".join(CliRunner().invoke(application(), ["import-repose", "--help"]).stdout.split())
    assert "as soon as what the report lists as `to do` is done" in told
