"""RFC 9111 §4.2: freshness and age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import dates, directives, freshness
from metaproxy.protocol.caching.freshness import Times

NOW = 1_800_000_000.0

Fields = list[tuple[bytes, bytes]]


def date(offset: float) -> bytes:
    return dates.render(NOW + offset)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param([], 0, id="nothing said"),
        pytest.param([(b"last-modified", date(-1000))], 100, id="a tenth since then"),
        pytest.param([(b"last-modified", date(-1000)), (b"date", date(-500))], 50, id="until Date"),
        pytest.param([(b"last-modified", date(-10_000_000))], 86_400, id="at most a day"),
        pytest.param([(b"last-modified", date(60))], 0, id="in the future"),
        pytest.param([(b"last-modified", b"yesterday")], 0, id="not a date"),
    ],
)
def test_the_lifetime_that_last_modified_lets_guess(fields: Fields, expected: float) -> None:
    assert freshness.heuristic_lifetime(fields, NOW) == expected


def lifetime(fields: Fields) -> float | None:
    return freshness.explicit_lifetime(directives.of_response(fields), fields, NOW)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param([], None, id="§4.2.1 nothing said"),
        pytest.param([(b"cache-control", b"max-age=60")], 60, id="§4.2.1 max-age"),
        pytest.param([(b"cache-control", b"max-age=60, s-maxage=5")], 5, id="§4.2.1 s-maxage goes first"),
        pytest.param([(b"cache-control", b"s-maxage=0, max-age=60")], 0, id="§4.2.1 s-maxage zero"),
        pytest.param([(b"expires", date(60)), (b"date", date(0))], 60, id="§4.2.1 Expires minus Date"),
        pytest.param([(b"expires", date(60)), (b"date", date(-30))], 90, id="§4.2.1 Date earlier"),
        pytest.param([(b"expires", date(60))], 60, id="§5.3 Expires without Date"),
        pytest.param(
            [(b"expires", date(60)), (b"date", b"soon")], 60, id="§5.3 Expires with an invalid Date"
        ),
        pytest.param([(b"expires", date(-60)), (b"date", date(0))], 0, id="§5.3 Expires in the past"),
        pytest.param([(b"expires", b"0")], 0, id="§5.3 Expires 0"),
        pytest.param([(b"expires", b"-1")], 0, id="§5.3 Expires -1"),
        pytest.param([(b"expires", b"")], 0, id="§5.3 Expires empty"),
        pytest.param([(b"expires", b"tomorrow")], 0, id="§5.3 Expires malformed"),
        pytest.param([(b"expires", date(60)), (b"expires", date(9))], 0, id="§4.2.1 two that disagree"),
        pytest.param([(b"expires", date(60)), (b"expires", date(60))], 60, id="§4.2.1 two that agree"),
        pytest.param(
            [(b"cache-control", b"max-age=5"), (b"expires", date(60))],
            5,
            id="§5.3 max-age goes before Expires",
        ),
        pytest.param(
            [(b"cache-control", b"no-cache"), (b"expires", date(60))], 60, id="§5.3 no-cache leaves Expires"
        ),
        pytest.param(
            [(b"cdn-cache-control", b"public"), (b"expires", date(60))], None, id="RFC 9213 §2.1 no Expires"
        ),
        pytest.param(
            [(b"cdn-cache-control", b"max-age=5"), (b"cache-control", b"max-age=9")], 5, id="RFC 9213 §2.1"
        ),
    ],
)
def test_the_lifetime_that_the_origin_gives(fields: Fields, expected: float | None) -> None:
    assert lifetime(fields) == expected


@pytest.mark.parametrize(
    ("fields", "delay", "expected"),
    [
        pytest.param([], 0, 0, id="§4.2.3 fresh from the origin"),
        pytest.param([(b"date", date(0))], 0, 0, id="§4.2.3 Date is now"),
        pytest.param([(b"date", date(-30))], 0, 30, id="§4.2.3 apparent age"),
        pytest.param([(b"date", date(30))], 0, 0, id="§4.2.3 a Date ahead counts for nothing"),
        pytest.param([(b"age", b"40")], 0, 40, id="§4.2.3 age value"),
        pytest.param([(b"age", b"40")], 5, 45, id="§4.2.3 the way is added to the age value"),
        pytest.param([(b"date", date(-30)), (b"age", b"40")], 0, 40, id="§4.2.3 the larger: Age"),
        pytest.param([(b"date", date(-50)), (b"age", b"40")], 0, 50, id="§4.2.3 the larger: Date"),
        pytest.param([], 7, 7, id="§4.2.3 the way alone"),
        pytest.param([(b"age", b"x")], 0, 0, id="§5.1 an invalid Age is ignored"),
        pytest.param([(b"age", b"-5")], 0, 0, id="§5.1 a negative Age is ignored"),
        pytest.param([(b"age", b"7.5")], 0, 0, id="§5.1 a decimal Age is ignored"),
        pytest.param([(b"age", b"")], 0, 0, id="§5.1 an empty Age is ignored"),
        pytest.param([(b"age", b"40, 50")], 0, 40, id="§5.1 of a list the first counts"),
        pytest.param([(b"age", b"40"), (b"age", b"0")], 0, 40, id="§5.1 of two lines the first counts"),
    ],
)
def test_the_age_on_arrival(fields: Fields, delay: float, expected: float) -> None:
    assert freshness.initial_age(dict(reversed(fields)), Times(NOW - delay, NOW)) == expected


@given(age=st.integers(0, 10**6), date_offset=st.integers(-(10**6), 10**6), delay=st.integers(0, 1000))
def test_an_answer_is_never_younger_than_any_of_its_signs(age: int, date_offset: int, delay: int) -> None:
    fields = [(b"age", b"%d" % age), (b"date", date(date_offset))]

    found = freshness.initial_age(dict(reversed(fields)), Times(NOW - delay, NOW))

    assert found >= age + delay
    assert found >= -date_offset
