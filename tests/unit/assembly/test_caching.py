"""The cache's routes, from the configuration to what answers are judged by."""

from pathlib import Path

import pytest

from metaproxy.server.run import facts
from tests.unit.assembly.configured import STATIC, config


@pytest.mark.parametrize(
    ("written", "ttl", "told"), [("90s", 90.0, "90s"), ("0s", 0.0, "0s"), ("heuristic", None, "heuristic")]
)
def test_a_route_has_a_ttl_or_leaves_it_to_last_modified(
    tmp_path: Path, written: str, ttl: float | None, told: str
) -> None:
    said = config(tmp_path, STATIC, f"\ncache: {{routes: [{{path: /things, ttl: {written}}}]}}\n")

    assert said.cache.routes[0].ttl == ttl
    assert facts(said, [], [])["cache"] == [f"/things {told}"]
    assert said.model_dump(mode="json")["cache"]["routes"][0]["ttl"] == told
