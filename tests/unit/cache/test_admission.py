"""What is known of a kind of answers is what its word by word reading says of each of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.cache.admission import Admission, Admitted, Asked, silent_fields
from metaproxy.cache.settings import CacheRoute
from metaproxy.protocol.caching.directives import RequestDirectives
from metaproxy.protocol.caching.freshness import Times
from metaproxy.protocol.headers import Header

ROUTES = [
    CacheRoute(path="/images/{image_id}", ttl=60, negative_ttl=5),
    CacheRoute(path="/never", ttl=0),
    CacheRoute(path="/stale", ttl=0, stale_while_revalidate=30),
]
LINES: list[Header] = [(b"host", b"api"), (b"accept", b"application/json, text/plain")]
FIELDS = st.sampled_from(
    [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"date", b"Thu, 26 Nov 2026 12:00:00 GMT"),
        (b"date", b"Thu, 26 Nov 2026 11:00:00 GMT"),
        (b"etag", b'"1"'),
        (b"vary", b"Accept"),
        (b"vary", b"accept , X-Auth-Token"),
        (b"vary", b"*"),
        (b"connection", b"x-once"),
        (b"x-once", b"1"),
        (b"x-compute-request-id", b"req-1"),
        (b"cache-control", b"max-age=5"),
        (b"expires", b"0"),
        (b"age", b"7"),
        (b"set-cookie", b"a=1"),
        (b"content-encoding", b"gzip"),
    ]
)
RECEIVED = 1_795_694_400.0


@given(
    fields=st.lists(FIELDS, max_size=7),
    statuses=st.lists(st.sampled_from([200, 203, 204, 206, 302, 404, 500, 503]), min_size=1, max_size=4),
    route=st.sampled_from(ROUTES),
    respect_origin=st.booleans(),
    no_store=st.booleans(),
    credentials=st.booleans(),
    cookie=st.booleans(),
)
def test_both_ways_to_judge_agree(
    fields: list[Header],
    statuses: list[int],
    route: CacheRoute,
    respect_origin: bool,
    no_store: bool,
    credentials: bool,
    cookie: bool,
) -> None:
    admission = Admission(respect_origin=respect_origin, hit_status=200)
    asked = Asked(
        lines=LINES,
        directives=RequestDirectives(no_store=no_store),
        credentials=credentials,
        cookie=cookie,
        tags=(),
    )
    times = Times(RECEIVED - 1, RECEIVED)

    for status in statuses * 2:
        judged = admission.judge(asked, route, status, fields, times)
        by_its_word = admission.judge_by_its_word(asked, route, status, fields, times)
        # Of one that must not be stored, the first of several reasons is told.
        if isinstance(by_its_word, Admitted):
            assert judged == by_its_word
        else:
            assert not isinstance(judged, Admitted)


@pytest.mark.parametrize(
    ("field", "silent"),
    [
        ((b"content-type", b"application/json"), True),
        ((b"vary", b"Accept"), True),
        ((b"vary", b"Accept, *"), False),
        ((b"cache-control", b"no-store"), False),
        ((b"cdn-cache-control", b"no-store"), False),
        ((b"set-cookie", b"a=1"), False),
    ],
)
def test_an_answer_silent_fields_that_says_nothing_of_its_storing(field: Header, silent: bool) -> None:
    assert (silent_fields([(b"date", b"x"), field]) is not None) is silent


def test_an_answer_with_two_fields_of_one_name_is_read_word_by_word() -> None:
    assert silent_fields([(b"vary", b"Accept"), (b"vary", b"*")]) is None
