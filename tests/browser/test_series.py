"""What the page makes of two answers of /status, computed by its own script in the browser."""

from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.browser]

BOUNDS = [0.001, 0.01, 0.1]


def told(now: float, latency: list[int] | None = None, **requests: int) -> dict[str, Any]:
    counts = {"hit": {"counts": latency or [0, 0, 0, 0], "sum_seconds": 0}}
    return {"now": now, "requests": requests, "latency_bounds": BOUNDS, "latency": counts}


def compute(page: Page, expression: str, *arguments: Any) -> Any:
    """Evaluate ``expression`` with the module as ``series`` and the arguments as ``a``, ``b``."""
    return page.evaluate(
        f"""async ([a, b]) => {{
            const series = await import("/page/series.js");
            return {expression};
        }}""",
        list(arguments),
    )


@pytest.mark.parametrize(
    ("before", "after", "ratio"),
    [
        (told(0), told(1), None),
        (told(0, hit=5), told(1, hit=8, forwarded=1), 0.75),
        (told(0), told(1, refused=9), None),
        (told(0), told(1, stale=1, collapsed=1, revalidated=1, hit=1), 1),
    ],
)
def test_the_hit_ratio_is_that_of_the_time_between(
    page: Page, before: dict[str, Any], after: dict[str, Any], ratio: float | None
) -> None:
    assert compute(page, "series.hitRatio(a, b)", before, after) == ratio


def test_a_rate_is_per_second(page: Page) -> None:
    assert compute(page, "series.rate(a, b, 'hit')", told(10, hit=5), told(12, hit=25)) == 10


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([10, 0, 0, 0], 0.5, 0.0005),
        ([0, 10, 0, 0], 1, 0.01),
        ([0, 0, 0, 3], 0.5, 0.1),
        ([0, 0, 0, 0], 0.5, None),
    ],
)
def test_a_percentile_is_interpolated_within_its_bucket(
    page: Page, counts: list[int], share: float, seconds: float | None
) -> None:
    found = compute(page, f"series.percentile(a, b, {share}, 'hit')", told(0), told(1, counts))

    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_a_restarted_process_begins_a_new_series(page: Page) -> None:
    kept = """(() => {
        const one = new series.Series(300);
        [a, b].forEach((status) => one.add(status));
        return one.samples.length;
    })()"""

    assert compute(page, kept, told(10, hit=5), told(12, hit=6)) == 2
    assert compute(page, kept, told(10, hit=5), told(1, hit=6)) == 1
    assert compute(page, kept, told(10, hit=5), told(12, hit=1)) == 1


def test_what_is_older_than_the_window_is_forgotten(page: Page) -> None:
    kept = """(() => {
        const one = new series.Series(300);
        [a, b].forEach((status) => one.add(status));
        return one.samples.map((sample) => sample.now);
    })()"""

    assert compute(page, kept, told(0), told(301)) == [301]
