"""YAML itself: what a file that cannot be read is refused for, and what is remembered of one that can."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaproxy.config.document import Document, read_document
from metaproxy.config.problems import ConfigError

BRACKETS = 'brackets, quotes or indentation do not match; inside [ ] and { } quote "${NAME}"'
START = "text may not start with this character: use quotes; indent with spaces, not tabs"
COLON = "a ':' is out of place: check the indentation, and quote text that holds ': '"
TOO_LARGE = "the file is nested too deeply or holds too much"
DOUBLING = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))


def read(folder: Path, content: str | bytes) -> Document:
    file = folder / "metaproxy.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_document(file, {"SECRET": "swordfish"})


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ConfigError) as error:
        read(folder, content)
    assert len(error.value.problems) == 1
    return str(error.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "metaproxy.yaml: the file is empty"),
        ("# nothing\n", "metaproxy.yaml: the file is empty"),
        (b"a: b\nc: \xff\n", "metaproxy.yaml:2: is not UTF-8 text"),
        ("a: b\nc: \x07\n", "metaproxy.yaml:2: holds a control character, which YAML does not allow"),
        ("a: [1\n", f"metaproxy.yaml:2: {BRACKETS} (it began on line 1)"),
        ("a: 'x\n", f"metaproxy.yaml:2: {BRACKETS} (it began on line 1)"),
        ("a: {b: ${SECRET}}\n", f"metaproxy.yaml:1: {BRACKETS}"),
        ("\ta: 1\n", f"metaproxy.yaml:1: {START}"),
        ("a: @x\n", f"metaproxy.yaml:1: {START}"),
        ("a: b: c\n", f"metaproxy.yaml:1: {COLON}"),
        ("a\nb: 1\n", f"metaproxy.yaml:2: {COLON}"),
        ("{a: 1\n", f"metaproxy.yaml:2: {BRACKETS} (it began on line 1)"),
        ("a: 1\nb\n", "metaproxy.yaml:3: a ':' is missing after a key"),
        (
            "a: *swordfish\n",
            "metaproxy.yaml:1: "
            "'*' names an anchor that does not exist; text that starts with '*' needs quotes",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "metaproxy.yaml:2: there is more than one document in the file: remove the '---' in its middle",
        ),
        ("a: &a [*a]\n", f"metaproxy.yaml:1: {TOO_LARGE}"),
        ("a: " + "[" * 100_000, f"metaproxy.yaml:1: {TOO_LARGE}"),
        (DOUBLING, f"metaproxy.yaml:1: {TOO_LARGE}"),
        (b"a: " + b"x" * 4 * 1024 * 1024, "metaproxy.yaml: is larger than 4MiB"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    assert refusal(tmp_path, content) == told


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: no such file$"):
        read_document(tmp_path / "nope.yaml", {})


def test_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": is a directory, not a file$"):
        read_document(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2\n", "metaproxy.yaml:2: a: the key stands here a second time; the first is on line 1"),
        ("? [a]\n: 1\n", "metaproxy.yaml:1: a key is a word before a ':'"),
        ("'': 1\n", "metaproxy.yaml:1: a key is a word before a ':'"),
        (
            "a: !swordfish\n",
            "metaproxy.yaml:1: a: tags are not used here; text that starts with '!' needs quotes",
        ),
        ("a: 2027-13-01\n", "metaproxy.yaml:1: a: looks like a number or a date and is none: use quotes"),
        ("a:\n  <<: 5\n", "metaproxy.yaml:2: a.<<: names a mapping, or a list of them"),
        (
            "a: ${NOPE}\n",
            "metaproxy.yaml:1: a: the environment variable NOPE is not set; a default is written ${NOPE:-…}",
        ),
    ],
)
def test_reading_goes_on_after_a_problem_in_a_value(tmp_path: Path, text: str, told: str) -> None:
    document = read(tmp_path, f"{text}last: 1\n")

    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in document.problems] == [told]
    assert isinstance(document.data, dict)
    assert document.data["last"] == 1


def test_the_line_of_every_key_is_remembered(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\n\nb:\n  # why\n  c: 2\n  d:\n    - e: 3\n    - f: 4\n")

    lines = {path: line for path, (_, line, _) in document.lines.items()}
    assert lines == {
        (): 1,
        ("a",): 1,
        ("b",): 3,
        ("b", "c"): 5,
        ("b", "d"): 6,
        ("b", "d", 0): 7,
        ("b", "d", 0, "e"): 7,
        ("b", "d", 1): 8,
        ("b", "d", 1, "f"): 8,
    }


def test_a_problem_with_an_absent_key_stands_at_the_line_of_its_mapping(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb:\n  c: 2\n")

    assert document.problem(("b", "x"), "is missing").line == 2


def test_an_anchor_stands_for_its_value_wherever_it_is_named(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &x {b: 1}\nc: *x\n")

    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}


def test_merged_keys_give_way_to_those_that_are_written(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\n")

    assert isinstance(document.data, dict)
    assert document.data["c"] == {"x": 1, "y": 1, "z": 3}


def test_the_line_of_a_key_that_wins_over_a_merged_one_is_its_own(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n")

    assert document.lines["b", "x"][1] == 3


def test_text_from_outside_the_file_is_known_as_such(tmp_path: Path) -> None:
    document = read(tmp_path, "a: x\nb: ${SECRET}\n")

    assert document.data == {"a": "x", "b": "swordfish"}
    assert document.hidden == {("b",)}


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffa: 1\n").data == {"a": 1}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet="ab:-[]{}'\"#&*!|>%@$ \n\t<", max_size=60))
def test_no_text_makes_reading_fail_in_another_way(tmp_path: Path, text: str) -> None:
    with suppress(ConfigError):
        read(tmp_path, text)
