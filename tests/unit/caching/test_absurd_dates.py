"""Times with absurd years, from an upstream or a client: none of them is an error of ours."""

from hypothesis import example, given
from hypothesis import strategies as st

from metaproxy.protocol.caching import dates
from metaproxy.protocol.caching.directives import delta_seconds
from metaproxy.protocol.caching.freshness import age_of, date_of

YEARS = st.one_of(
    st.sampled_from(["0", "0000", "0001", "9999", "10000", "99999", "-1", "9" * 5000, "nan", "inf", ""]),
    st.integers(min_value=-(10**30), max_value=10**30).map(str),
)
TIMES = st.one_of(
    st.builds("Fri, 15 Jan {} 08:00:00 GMT".format, YEARS),
    st.builds("Friday, 15-Jan-{} 08:00:00 GMT".format, YEARS),
    st.builds("Fri Jan 15 08:00:00 {}".format, YEARS),
    YEARS,
).map(lambda text: text.encode())


@given(st.one_of(TIMES, st.binary(max_size=40)))
@example(b"Fri, 31 Dec 9999 23:59:60 GMT")
def test_a_date_is_read_or_is_none(value: bytes) -> None:
    seconds = dates.parse(value)

    assert seconds is None or dates.parse(dates.render(seconds)) == seconds


@given(TIMES)
def test_an_answer_has_an_age_and_a_date_whatever_it_says(value: bytes) -> None:
    fields = [(b"date", value), (b"age", value)]

    assert abs(date_of(fields, 0.0)) < 3e11
    assert 0 <= age_of(fields) <= delta_seconds(b"9" * 20)
