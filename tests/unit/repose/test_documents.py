"""XML that others wrote: read safely, and nothing in it forgotten."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metaproxy.cli import application
from metaproxy.config.repose import ReposeError, import_folder
from metaproxy.config.repose.documents import MAX_FILE_BYTES, read_document

BOMB = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><a>&z;</a>'
FILE_ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
REPOSE = "http://docs.openrepose.org/repose"
MODEL = """<system-model xmlns="http://docs.openrepose.org/repose/system-model/v2.0">
<nodes><node id="n" hostname="h" http-port="8080"/></nodes>
<filters>{filters}</filters>
<destinations><endpoint id="d" hostname="h" port="1" default="true"/></destinations></system-model>"""


def written(folder: Path, text: str, name: str = "system-model.cfg.xml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "DTD"),
        (FILE_ENTITY, "DTD"),
        ("<a>", "well-formed"),
        ("", "well-formed"),
        ("<a/><b/>", "well-formed"),
    ],
)
def test_what_is_not_safe_or_not_xml_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ReposeError, match=why) as refused:
        read_document(written(tmp_path, text))
    assert str(refused.value).startswith("system-model.cfg.xml: ")


def test_a_file_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ReposeError, match="larger"):
        read_document(written(tmp_path, "<a>" + " " * MAX_FILE_BYTES + "</a>"))


def test_what_nobody_asked_about_is_told(tmp_path: Path) -> None:
    root = read_document(written(tmp_path, '<a known="1" odd="2"><b id="x" z="3"><c/></b><d/></a>'))
    root.attribute("known")
    root.all("b")
    assert {unread.place for unread in root.unread()} == {
        "system-model.cfg.xml:1: a @odd",
        "system-model.cfg.xml:1: a / b 'x' @id",
        "system-model.cfg.xml:1: a / b 'x' @z",
        "system-model.cfg.xml:1: a / b 'x' / c",
        "system-model.cfg.xml:1: a / d",
    }


def test_a_folder_without_a_system_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReposeError, match="holds no system-model"):
        import_folder(tmp_path)


def test_a_name_in_the_xml_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "repose"
    folder.mkdir()
    (tmp_path / "secret.rbac").write_text("/secret GET ANY")
    written(folder, MODEL.format(filters='<filter name="simple-rbac"/>'))
    written(
        folder,
        f'<simple-rbac xmlns="{REPOSE}/simple-rbac/v1.0"><resources href="../secret.rbac"/></simple-rbac>',
        "simple-rbac.cfg.xml",
    )
    imported = import_folder(folder)
    assert "/secret GET" not in imported.yaml
    assert imported.not_converted == ("simple-rbac/href",)


def test_a_reference_in_the_xml_is_text_in_the_configuration(tmp_path: Path) -> None:
    written(tmp_path, MODEL.format(filters="").replace('hostname="h" port', 'hostname="${HOME}" port'))
    assert "$${HOME}" in import_folder(tmp_path).yaml


def test_a_line_end_in_a_name_does_not_end_its_comment(tmp_path: Path) -> None:
    text = MODEL.format(filters="").replace('id="n"', 'id="n&#10;identity: {provider: none}&#10;"')
    written(tmp_path, text)
    assert "\nidentity: {provider" not in import_folder(tmp_path).yaml


def test_a_result_that_does_not_pass_the_check_exits_2_and_says_why(tmp_path: Path) -> None:
    written(tmp_path, MODEL.format(filters='<filter name="keystone-v2"/>'))
    written(
        tmp_path,
        f'<keystone-v2 xmlns="{REPOSE}/keystone-v2/v1.0"><identity-service uri="nonsense"/></keystone-v2>',
        "keystone-v2.cfg.xml",
    )
    result = CliRunner().invoke(application(), ["import-repose", str(tmp_path)])
    assert result.exit_code == 2
    assert "to do: metaproxy.yaml" in result.stderr


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    written(tmp_path, MODEL.format(filters=""))
    output = tmp_path / "metaproxy.yaml"
    output.write_text("mine")
    result = CliRunner().invoke(application(), ["import-repose", str(tmp_path), "-o", str(output)])
    assert (result.exit_code, output.read_text()) == (2, "mine")


@pytest.mark.parametrize("name", ["keystone-v2", "simple-rbac", "rate-limiting"])
def test_a_filter_without_its_file_is_refused_because_it_guarded_something(tmp_path: Path, name: str) -> None:
    written(tmp_path, MODEL.format(filters=f'<filter name="{name}"/>'))
    with pytest.raises(ReposeError, match=f"its file {name}.cfg.xml is missing"):
        import_folder(tmp_path)


def test_a_guard_that_cannot_be_converted_opens_nothing(tmp_path: Path) -> None:
    written(tmp_path, MODEL.format(filters='<filter name="client-auth"/>'))
    result = CliRunner().invoke(application(), ["import-repose", str(tmp_path)])
    assert result.exit_code == 2
    assert "identity: is missing" in result.stderr
    assert "not converted: client-auth: " in result.stderr
