"""What makes a soak fail, and that its report says so."""

from dataclasses import replace

import pytest

from tests.soak import report
from tests.soak.vitals import GAUGES, Vitals, exceeded

CALM = Vitals(80.0, 20, {**dict.fromkeys(GAUGES, 0), "tasks": 10})
LEVEL = [CALM] * 10
MOST = {"clients": 0, "tokens": 100}


def held(**more: int) -> Vitals:
    return replace(CALM, held={**CALM.held, **more})


def growing(mebibytes: float) -> list[Vitals]:
    return [replace(CALM, rss=CALM.rss + tenth * mebibytes) for tenth in range(10)]


CASES = [
    (LEVEL, CALM, ""),
    (growing(1.0), replace(CALM, rss=90.0), ""),
    (growing(4.0), replace(CALM, rss=120.0), "memory of the last fifth"),
    (LEVEL, replace(CALM, rss=130.0), "memory at the end"),
    (LEVEL, replace(CALM, descriptors=31), "descriptors"),
    (LEVEL, held(tasks=16), "tasks"),
    (LEVEL, held(clients=1), "clients"),
    (LEVEL, held(tokens=100), ""),
    (LEVEL, held(tokens=101), "tokens"),
]


@pytest.mark.parametrize(("series", "end", "bound"), CASES)
def test_a_bound_that_is_exceeded_fails_the_soak_and_is_named(
    series: list[Vitals], end: Vitals, bound: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = report.verdict(exceeded(CALM, series, end, MOST), [], 0)

    told = capsys.readouterr().out
    assert code == int(bool(bound))
    assert [line for line in told.splitlines() if "EXCEEDED" in line and bound in line] or not bound
    assert told.count("EXCEEDED") == code
    assert told.endswith(f"exit code {code}\n")


@pytest.mark.parametrize(("unexplained", "tracebacks"), [(["read: 418"], 0), ([], 1)])
def test_an_answer_that_nothing_explains_or_a_traceback_fails_it_too(
    unexplained: list[str], tracebacks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.verdict(exceeded(CALM, LEVEL, CALM, MOST), unexplained, tracebacks) == 1
    assert all(answer in capsys.readouterr().out for answer in unexplained)


def test_the_report_shows_what_was_held_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    report.held(CALM, growing(1.0), replace(CALM, rss=91.5))

    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines[2:]}) == 1
    assert lines[3].split()[:3] == ["start", "80.0", "20"]
    assert lines[4].split()[:2] == ["1/10", "80.0"]
    assert lines[-1].split()[:2] == ["end", "91.5"]
