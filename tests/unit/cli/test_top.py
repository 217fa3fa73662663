from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from metaproxy.cli.top import grown, percentile, top, view

BOUNDS = [0.001, 0.01, 0.1]


def told(now: float, hits: int, counts: list[int]) -> Any:
    return {
        "version": "1.0",
        "ready": True,
        "uptime_seconds": 5.0,
        "generation": 1,
        "now": now,
        "requests": {"hit": hits},
        "latency_bounds": BOUNDS,
        "latency": {"hit": {"counts": counts, "sum_seconds": 0.0}},
        "consumers": [{"consumer": "project:a", "requests": 9, "refusals": 2}],
        "upstream": [{"name": "http://a", "healthy": True, "breaker": "closed", "active_requests": 1}],
    }


def test_it_shows_what_happened_between_two_looks() -> None:
    console = Console(width=120, record=True, file=StringIO())

    console.print(view(told(0.0, 100, [100, 0, 0, 0]), told(2.0, 120, [100, 20, 0, 0])))

    text = " ".join(console.export_text().split())
    assert "hit ratio 100.0%" in text
    assert "hit 10.0 5.5 ms 9.5 ms 9.9 ms 120" in text
    assert "project:a 9 2" in text
    assert "http://a healthy closed 1" in text


def test_without_a_terminal_it_prints_each_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    class Admin:
        def read(self, _: str) -> Any:
            printed.append(capsys.readouterr().out)
            return told(float(len(printed)), 100, [100, 0, 0, 0])

    monkeypatch.setattr("metaproxy.cli.top.admin", lambda _: Admin())

    top("http://127.0.0.1:1", interval=0.0, count=2)

    assert "metaproxy 1.0 ready" in printed[2]  # before the next look, not at the end
    assert "metaproxy 1.0 ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 0.0005),
        ([0, 10, 0, 0], 1.0, 0.01),
        ([0, 0, 0, 10], 0.5, 0.1),
    ],
)
def test_a_percentile_is_interpolated_within_its_bucket(
    counts: list[int], share: float, seconds: float | None
) -> None:
    assert percentile(BOUNDS, counts, share) == (seconds if seconds is None else pytest.approx(seconds))


@example([0, 0, 111, 111])
@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_percentiles_grow_with_their_share(counts: list[int]) -> None:
    found = [percentile(BOUNDS, counts, share) for share in (0.1, 0.5, 0.9, 0.99)]

    assert None not in found
    assert found == sorted(value for value in found if value is not None)


def test_what_was_not_there_before_has_grown_from_nothing() -> None:
    assert grown({"hit": 1}, {"hit": 3, "refused": 2}) == {"hit": 2, "refused": 2}
