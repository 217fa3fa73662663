"""``${…}``: what is filled in, and what is said where it cannot be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.config.interpolation import InterpolationError, interpolate

ENVIRON = {"HOST": "nova", "EMPTY": "", "DOLLAR": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${HOST}", "nova"),
        ("http://${HOST}:80/${HOST}", "http://nova:80/nova"),
        ("${MISSING:-default}", "default"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${HOST:-default}", "nova"),
        ("${MISSING:-a:-b}", "a:-b"),
        ("$$", "$"),
        ("$${HOST}", "${HOST}"),
        ("^/v2/[^/]+$", "^/v2/[^/]+$"),
        ("$HOST", "$HOST"),
        ("${DOLLAR}", "${HOST}"),
    ],
)
def test_a_reference_is_filled_in(text: str, filled: str) -> None:
    assert interpolate(text, ENVIRON, Path("/")) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${MISSING}", "the environment variable MISSING is not set; a default is written ${MISSING:-…}"),
        ("${HOST", "'${' is not closed; a literal '${' is written '$${'"),
        ("${}", "a reference is ${NAME}, ${NAME:-default} or ${file:/path}; '$${' is a literal '${'"),
        ("${a-b}", "a reference is ${NAME}, ${NAME:-default} or ${file:/path}; '$${' is a literal '${'"),
        ("${file:/no/such/file}", "cannot read /no/such/file: No such file or directory"),
        ("${file:/}", "cannot read /: Is a directory"),
    ],
)
def test_what_cannot_be_filled_in_is_told(text: str, message: str) -> None:
    with pytest.raises(InterpolationError) as error:
        interpolate(text, ENVIRON, Path("/"))

    assert str(error.value) == message


@pytest.mark.parametrize(
    ("content", "value"),
    [("secret\n", "secret"), ("a\nb\n\n", "a\nb\n"), ("x\r\n", "x"), ("\ufeffx\n", "x"), ("", "")],
)
def test_a_file_is_taken_without_its_last_newline(tmp_path: Path, content: str, value: str) -> None:
    (tmp_path / "secret").write_bytes(content.encode())

    assert interpolate(f"${{file:{tmp_path}/secret}}", {}, Path("/")) == value


def test_a_relative_path_starts_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc")

    assert interpolate("${file:secret}", {}, tmp_path) == "abc"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")

    with pytest.raises(InterpolationError, match="it is not UTF-8 text"):
        interpolate("${file:secret}", {}, tmp_path)


def test_a_file_that_is_no_secret_by_its_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 65537)

    with pytest.raises(InterpolationError, match="it is larger than 64KiB"):
        interpolate("${file:secret}", {}, tmp_path)


@given(st.text())
def test_every_text_can_be_written_with_its_dollars_doubled(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}, Path("/")) == text
