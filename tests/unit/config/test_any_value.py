"""Whatever stands at whichever key: a configuration, or reasons in words."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaproxy.config import ConfigError, load_config
from metaproxy.settings.section import KeyPath

REFERENCE = Path(__file__).parents[3] / "config" / "metaproxy.yaml"


def every_path(data: object, path: KeyPath = ()) -> list[KeyPath]:
    inside: list[tuple[str | int, object]] = []
    if isinstance(data, dict):
        inside = list(data.items())
    elif isinstance(data, list):
        inside = list(enumerate(data))
    return [path, *(found for key, value in inside for found in every_path(value, (*path, key)))]


def replaced(data: Any, path: KeyPath, value: object) -> Any:
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


SOUND = yaml.safe_load(re.sub(r"\$\{file:.*\}", "secret", REFERENCE.read_text()))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(every_path(SOUND)[1:]), VALUES | st.sampled_from(["${NOPE}", "${", "*", "/**", "{"]))
def test_any_value_at_any_key_is_taken_or_refused_in_words(
    tmp_path: Path, path: KeyPath, value: object
) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(yaml.safe_dump(replaced(SOUND, path, value)))

    try:
        load_config(file, {})
    except ConfigError as error:
        for problem in error.problems:
            assert "does not fit here" not in problem.message
            assert problem.line > 0


@pytest.mark.parametrize("key", ["server", "upstream", "identity"])
def test_what_is_required_may_not_be_left_out(tmp_path: Path, key: str) -> None:
    file = tmp_path / "metaproxy.yaml"
    file.write_text(yaml.safe_dump({name: value for name, value in SOUND.items() if name != key}))

    with pytest.raises(ConfigError) as error:
        load_config(file, {})

    assert [problem.key for problem in error.value.problems] == [key]
