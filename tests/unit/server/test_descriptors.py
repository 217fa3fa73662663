"""How many client connections a limit of file descriptors leaves room for, and how refusals are counted."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.server.descriptors import LEAST_CONNECTIONS, Needs, Refusals, in_use, limit, samples
from metaproxy.telemetry import logs
from metaproxy.telemetry.metrics import Metrics

NEEDS = Needs(upstream=256, identity=64, fixed=70)


@given(
    st.builds(Needs, st.integers(0, 5000), st.integers(0, 64), st.integers(64, 200)),
    st.integers(256, 50_000),
    st.integers(1, 20_000),
)
def test_what_is_accepted_fits_and_one_more_would_not(needs: Needs, descriptors: int, wanted: int) -> None:
    accepted = needs.connections(descriptors, wanted)

    assert accepted <= wanted
    assert accepted <= LEAST_CONNECTIONS or needs.descriptors(accepted) <= descriptors
    assert accepted == wanted or needs.descriptors(accepted + 1) > descriptors


@pytest.mark.parametrize(
    ("descriptors", "accepted"),
    [(256, 62), (1024, 634), (10_390, 10_000), (10_389, 9_999), (0, LEAST_CONNECTIONS)],
)
def test_the_rest_is_for_connections_behind_and_a_reserve(descriptors: int, accepted: int) -> None:
    assert NEEDS.connections(descriptors, wanted=10_000) == accepted


def test_open_descriptors_are_counted() -> None:
    before = in_use()
    with Path(os.devnull).open():
        assert in_use() == before + 1

    shown = dict(samples())
    assert shown[("limit",)] == limit()
    assert shown[("open",)] <= limit()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    script = (
        "import json, resource; from metaproxy.server.descriptors import raise_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200));"
        "print(json.dumps([raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE)]))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=300)

    assert json.loads(told.stdout) == [200, 200, 200]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit()


def test_every_refusal_is_counted_and_one_in_ten_seconds_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json", "info")
    metrics, instants = Metrics(), iter((0.0, 1.0, 9.9, 10.0))
    refusals = Refusals(metrics, lambda: next(instants))

    for _ in range(4):
        refusals.add("too_many_connections", connections=7)

    lines = [json.loads(line) for line in "".join(capsys.readouterr()).splitlines()]
    assert [line["refused"] for line in lines] == [1, 3]
    assert lines[0]["reason"] == "too_many_connections"
    (family,) = [each for each in metrics.collect() if each.name == "metaproxy_connections_refused"]
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"reason": "too_many_connections"}, 4.0),
        ({"reason": "too_many_connections_of_address"}, 0.0),
    ]
