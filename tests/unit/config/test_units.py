"""Durations, sizes, shares and rates: what is read, what is refused, and that writing reads back."""

import math
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.settings import hints
from metaproxy.settings.units import (
    DURATION_UNITS,
    RATE_UNITS,
    SIZE_UNITS,
    Rate,
    format_duration,
    format_percent,
    format_size,
    parse_duration,
    parse_percent,
    parse_positive_duration,
    parse_positive_size,
    parse_rate,
    parse_size,
)
from metaproxy.settings.written import NotWrittenSo

Parser = Callable[[object], object]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration, "500ms", 0.5),
        (parse_duration, "10s", 10.0),
        (parse_duration, "1.5s", 1.5),
        (parse_duration, "5m", 300.0),
        (parse_duration, "1h", 3600.0),
        (parse_duration, "1d", 86400.0),
        (parse_duration, "0", 0.0),
        (parse_duration, 0, 0.0),
        (parse_duration, "0s", 0.0),
        (parse_duration, " 10s ", 10.0),
        (parse_size, "512B", 512),
        (parse_size, "64KiB", 65536),
        (parse_size, "1MiB", 1048576),
        (parse_size, "2GiB", 2147483648),
        (parse_size, 0, 0),
        (parse_percent, "10%", 0.1),
        (parse_percent, "2.5%", 0.025),
        (parse_percent, "0%", 0.0),
        (parse_percent, "100%", 1.0),
        (parse_rate, "1000/minute", Rate(1000, "minute")),
        (parse_rate, "1/day", Rate(1, "day")),
        (parse_rate, Rate(5, "hour"), Rate(5, "hour")),
    ],
)
def test_a_value_with_its_unit_is_read(parse: Parser, text: object, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_duration, "10"),
        (parse_duration, 10),
        (parse_duration, 1.5),
        (parse_duration, True),
        (parse_duration, False),
        (parse_duration, None),
        (parse_duration, ""),
        (parse_duration, "10 s"),
        (parse_duration, "10sec"),
        (parse_duration, "-1s"),
        (parse_duration, "1h30m"),
        (parse_duration, "١s"),
        (parse_duration, "9" * 400 + "s"),
        (parse_positive_duration, "0s"),
        (parse_size, "64KB"),
        (parse_size, "64"),
        (parse_size, "1.5MiB"),
        (parse_positive_size, 0),
        (parse_percent, "10"),
        (parse_percent, 0.1),
        (parse_percent, "101%"),
        (parse_rate, "1000"),
        (parse_rate, "0/minute"),
        (parse_rate, "10/fortnight"),
        (parse_rate, "10/minutes"),
        (parse_rate, 10),
        (parse_duration, "366d"),
        (parse_duration, "999999999999999d"),
        (parse_positive_duration, "0.000001ms"),
        (parse_size, "1025GiB"),
        (parse_rate, "1000001/second"),
        (parse_rate, "999999999999/second"),
    ],
)
def test_anything_else_is_refused(parse: Parser, text: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_a_rate_knows_the_length_of_its_unit() -> None:
    assert [Rate(1, unit).period_seconds for unit in RATE_UNITS] == [1, 60, 3600, 86400]


@given(st.integers(0, 365), st.sampled_from([*DURATION_UNITS]))
def test_every_duration_that_is_written_reads_back(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number}{unit}")

    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(0, 3e7, allow_subnormal=False).filter(lambda seconds: seconds == 0 or seconds > 1e-6))
def test_a_duration_of_any_length_is_written_so_that_it_reads_back_within_a_nanosecond(
    seconds: float,
) -> None:
    assert math.isclose(parse_duration(format_duration(round(seconds, 9))), round(seconds, 9), abs_tol=1e-9)


@given(st.integers(0, 1024**4))
def test_every_size_that_is_written_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 1024), st.sampled_from([*SIZE_UNITS]))
def test_a_size_is_written_in_the_largest_unit_that_divides_it(number: int, unit: str) -> None:
    size = parse_size(f"{number}{unit}")
    written = format_size(size)

    assert len(written) <= len(f"{number}{unit}")


@given(st.decimals(0, 100, places=3))
def test_every_share_that_is_written_reads_back(percent: object) -> None:
    share = parse_percent(f"{percent}%")

    assert parse_percent(format_percent(share)) == share


@given(st.integers(1, 10**6), st.sampled_from([*RATE_UNITS]))
def test_every_rate_that_is_written_reads_back(limit: int, unit: str) -> None:
    rate = Rate(limit, unit)

    assert parse_rate(str(rate)) == rate


@given(st.text())
def test_no_text_makes_a_parser_fail_in_another_way(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_percent, parse_rate):
        try:
            parse(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("parse", "written", "meant"),
    [
        (parse_duration, "1h30m", "90m"),
        (parse_duration, "5 sec", "5s"),
        (parse_duration, "10 S", "10s"),
        (parse_duration, "1w", "7d"),
        (parse_duration, "2 minutes", "2m"),
        (parse_duration, "1500us", ""),
        (parse_size, "10MB", "10MiB"),
        (parse_size, "10Mi", "10MiB"),
        (parse_size, "10M", "10MiB"),
        (parse_size, "64kb", "64KiB"),
        (parse_size, "1.5GiB", "1536MiB"),
        (parse_size, "1T", "1024GiB"),
        (parse_size, "512 bytes", "512B"),
        (parse_size, "64", ""),
        (parse_rate, "10/s", "10/second"),
        (parse_rate, "10r/s", "10/second"),
        (parse_rate, "100 per min", "100/minute"),
        (parse_rate, "10/5s", ""),
        (parse_percent, 0.1, "10%"),
        (parse_percent, "10", "10%"),
        (parse_percent, "much", ""),
    ],
)
def test_a_value_in_the_form_of_another_program_is_refused_with_the_form_to_write(
    parse: Parser, written: object, meant: str
) -> None:
    with pytest.raises(NotWrittenSo) as error:
        parse(written)

    assert error.value.hint == meant


@given(st.text())
def test_no_text_makes_a_hint_fail(text: str) -> None:
    for hint, parse in (
        (hints.duration, parse_duration),
        (hints.size, parse_size),
        (hints.rate, parse_rate),
        (hints.percent, parse_percent),
    ):
        if suggested := hint(text):
            with suppress(NotWrittenSo):  # of a form that is right, and too large
                parse(suggested)
