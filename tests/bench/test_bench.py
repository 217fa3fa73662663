"""The benchmark measures what it says: its own arithmetic, and that metaproxy passes every case's check."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import cases, chart, features, nginx, probe, report
from tests.bench.cases import CASES, QUICK
from tests.bench.footprint import Footprint
from tests.bench.load import Counts, Sample, read_counts
from tests.bench.machine import LOAD_CORE, BenchError
from tests.bench.probe import Answer, Expectation
from tests.bench.report import Report
from tests.bench.rounds import Measured
from tests.bench.servers import Server, Stand
from tests.bench.upstream import ITEM, WIDE_ITEM

SERVER = Server("metaproxy", 1, 1)
COUNTS = Counts(
    requests=10_000,
    microseconds=2_000_000,
    status_errors=0,
    socket_errors=0,
    p50=400,
    p90=500,
    p99=900,
    max=5000,
)


def measured(*rates: float) -> Measured:
    samples = [Sample(rate, 1.0, 0.5, 2.0) for rate in rates]
    return Measured(samples, [20.0 for _ in rates], 60 * 2**20, 64 * 2**20)


def a_report() -> Report:
    result = Report({"nginx": "nginx/1"}, QUICK)
    result.cases.append(
        (CASES["hit"], {"nginx": measured(50_000), "metaproxy": measured(60_000, 65_000, 70_000)})
    )
    result.growth["tokens"] = {number: measured(65_000) for number in QUICK.growth}
    result.features["miss"] = {"plain": measured(20_000), "no cache routes": measured(19_500)}
    result.footprint = Footprint(60 * 2**20, 120 * 2**20, 100_000)
    return result


def test_the_counts_are_read_from_between_what_wrk_prints() -> None:
    line = json.dumps({name: getattr(COUNTS, name) for name in Counts.__slots__})
    assert read_counts(f"Running 2s test @ http://…\n{line}\nRequests/sec: 1.00\n") == COUNTS


def test_a_run_that_counted_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        read_counts("unable to connect to 127.0.0.1:1 Connection refused")


def test_a_rate_is_requests_by_the_time_that_they_took() -> None:
    assert COUNTS.sample.rate == 5000
    assert (COUNTS.sample.p50, COUNTS.sample.p99) == (0.4, 0.9)


def test_one_slow_round_does_not_move_the_result() -> None:
    assert measured(100, 10, 101).rate == 100


def test_the_spread_is_told_as_a_share_of_the_median() -> None:
    assert measured(90, 100, 110).spread == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("status_errors", "asked", "expectation", "problem"),
    [
        (1, 0, Expectation(cache="hit"), "were not 200"),
        (0, 11, Expectation(cache="hit"), "went further"),
        (9_000, 0, Expectation(status=401), "were not 401"),
        (0, 9_999, Expectation(asks_upstream=True), "only 9999 came from the upstream"),
    ],
)
def test_a_run_that_is_not_what_its_case_says_is_refused(
    status_errors: int, asked: int, expectation: Expectation, problem: str
) -> None:
    counts = Counts(10_000, 2_000_000, status_errors, 0, 400, 500, 900, 5000)
    with pytest.raises(BenchError, match=problem):
        probe.verify_counts(SERVER, counts, expectation, asked)


def test_an_answer_is_held_against_status_body_and_cache_status() -> None:
    answer = Answer(200, {"cache-status": "metaproxy; fwd=uri-miss"}, b"{}")
    assert len(list(probe.problems(answer, Expectation(cache="hit")))) == 2
    assert not list(
        probe.problems(Answer(200, {"cache-status": "nginx; hit"}, ITEM), Expectation(cache="hit"))
    )


def test_a_row_shows_rates_ratio_times_cost_and_memory() -> None:
    row = next(line for line in report.markdown(a_report()).splitlines() if line.startswith("| hit"))
    assert "| 50 000 | 65 000 | **1.30** | 0.50 : 0.50 | 2.00 : 2.00 | 20.0 : 20.0 | 60 : 64 | 15% |" in row


def test_a_feature_is_shown_as_a_share_of_the_plain_rate_beside_the_least_that_is_to_be_left() -> None:
    lines = report.markdown(a_report()).splitlines()
    assert "| passed on, the same read again | 20 000 |  |  |  | 20.0 |" in lines
    assert (
        "| passed on, the same read again, no cache routes | 19 500 | **0.97** | 0.95 | 1.00 | 20.0 |"
        in lines
    )


def test_every_row_of_a_table_has_as_many_cells_as_its_heading() -> None:
    lines = [line for line in report.markdown(a_report()).splitlines() if line.startswith("|")]
    cells = [line.count("|") for line in lines]
    assert cells == [12, 12, 12, 4, 4, 4, 7, 7, 7, 7]


def test_a_case_that_failed_is_named_with_its_reason() -> None:
    result = a_report()
    result.failures["miss"] = "status 502 instead of 200"
    assert "**miss was not measured**: status 502 instead of 200" in report.markdown(result)


def test_the_json_holds_every_sample() -> None:
    document = json.loads(report.as_json(a_report()))
    samples = document["cases"][0]["servers"]["metaproxy"]["samples"]
    assert [sample["amount"] for sample in samples] == [60_000, 65_000, 70_000]


def test_the_chart_draws_bars_as_multiples_of_nginx() -> None:
    bars = [
        float(bar.attrib["width"])
        for bar in ElementTree.fromstring(chart.svg(a_report())).iter("{http://www.w3.org/2000/svg}rect")
        if bar.attrib["x"] == str(chart.LEFT) and "." in bar.attrib["width"]
    ]
    assert bars[1] / bars[0] == pytest.approx(1.3, rel=0.01)


@pytest.mark.parametrize(("number", "shown"), [(65_432.1, "65 432"), (12.34, "12.3"), (0.456, "0.46")])
def test_numbers_are_written_for_human_eyes(number: float, shown: str) -> None:
    assert report.number(number) == shown


def test_every_word_in_nginx_configuration_is_filled_in(tmp_path: Path) -> None:
    path = nginx.write_configuration(tmp_path, port=8001, upstream_port=8002, access_log=None)
    assert not re.search("@[a-z_]+@", path.read_text())
    assert "access_log off;" in path.read_text()


def test_upstream_answers_have_the_sizes_that_the_cases_name() -> None:
    assert (len(ITEM), len(WIDE_ITEM)) == (30, 200)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """An upstream, a Keystone and, as soon as it is asked for, metaproxy."""
    if LOAD_CORE not in os.sched_getaffinity(0):
        pytest.skip("needs two cores")
    with Stand(tmp_path_factory.mktemp("bench") / "servers") as running:
        yield running


@pytest.mark.e2e
@pytest.mark.parametrize("name", CASES)
def test_metaproxy_passes_the_check_of_every_case(name: str, stand: Stand, tmp_path: Path) -> None:
    cases.contestant("metaproxy", CASES[name], stand, QUICK, tmp_path).prepare()


@pytest.mark.e2e
@pytest.mark.parametrize("name", features.LEAST)
def test_metaproxy_passes_the_check_of_a_case_with_every_feature(
    name: str, stand: Stand, tmp_path: Path
) -> None:
    for contestant in features.contestants(name, stand, QUICK, tmp_path):
        contestant.prepare()
