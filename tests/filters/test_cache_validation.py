"""The cache stage: conditions, validation, stale answers, ranges, and what clients ask of a cache."""

from typing import Any

import pytest

from metaproxy.cache.settings import CacheRoute
from metaproxy.protocol.faults import Fault
from tests.asgi_driver import Answer
from tests.filters.caching import ITEM, ITEM_ROUTE, JSON, Origin, Time, make_cache, request, turn

UNREACHABLE = Fault(502, "The upstream cannot be reached.", reason="upstream_unreachable")


def stale_route(**windows: Any) -> CacheRoute:
    return ITEM_ROUTE.model_copy(update=windows)


def answered_not_modified(origin: Origin, *headers: tuple[bytes, bytes]) -> None:
    """Let the origin confirm what it has answered before."""
    origin.status, origin.headers, origin.chunks = 304, list(headers), []


async def test_a_client_that_has_the_answer_gets_304_from_memory() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())
    await request(cache)
    etag = (await request(cache)).header("etag")
    assert etag is not None

    answer = await request(cache, ITEM, ("if-none-match", etag))

    assert (answer.status, answer.body, answer.header("etag")) == (304, b"", etag)
    assert answer.header("content-type") is None
    assert len(origin.requests) == 1


async def test_a_client_with_another_copy_gets_the_whole() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    assert (await request(cache, ITEM, ("if-none-match", '"old"'))).status == 200


async def test_if_modified_since_is_answered_by_the_date_where_there_is_no_last_modified() -> None:
    time = Time()
    cache = make_cache(Origin(), time)
    await request(cache)
    since = time.date().decode()

    time.seconds += 10

    assert (await request(cache, ITEM, ("if-modified-since", since))).status == 304


async def test_a_miss_with_a_condition_fetches_the_whole_and_answers_304() -> None:
    origin = Origin(JSON, (b"etag", b'"1"'))
    cache = make_cache(origin, Time())

    answer = await request(cache, ITEM, ("if-none-match", '"1"'))

    assert answer.status == 304
    assert origin.asked(b"if-none-match") is None
    assert (await request(cache)).exchange.outcome == "hit"


async def test_a_stale_answer_is_validated_with_the_stored_etag() -> None:
    origin, time = Origin(JSON, (b"etag", b'"1"')), Time()
    cache = make_cache(origin, time)
    first = await request(cache)
    answered_not_modified(origin, (b"etag", b'"1"'))

    time.seconds += 60
    answer = await request(cache)

    assert origin.asked(b"if-none-match") == b'"1"'
    assert (answer.status, answer.body) == (200, first.body)
    assert answer.header("cache-status") == "metaproxy; fwd=stale; fwd-status=304; ttl=60; stored"
    assert answer.exchange.outcome == "revalidated"


async def test_a_validated_answer_is_fresh_again() -> None:
    origin, time = Origin(JSON, (b"etag", b'"1"')), Time()
    cache = make_cache(origin, time)
    await request(cache)
    answered_not_modified(origin, (b"x-new", b"1"))
    time.seconds += 60
    await request(cache)

    time.seconds += 59
    answer = await request(cache)

    assert (answer.exchange.outcome, answer.header("x-new"), answer.header("age")) == ("hit", "1", "59")


async def test_an_etag_of_our_own_is_never_sent_to_the_origin() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 60
    await request(cache)

    assert origin.asked(b"if-none-match") is None


async def test_a_304_for_something_else_is_followed_by_the_whole() -> None:
    class Confused(Origin):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            conditional = b"if-none-match" in dict(scope["headers"])
            self.status = 304 if conditional else 200
            self.headers = [(b"etag", b'"%d"' % len(self.requests))]
            await super().__call__(scope, receive, send)

    origin, time = Confused(), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 60
    answer = await request(cache)

    assert (answer.status, answer.header("etag")) == (200, '"2"')
    assert len(origin.requests) == 3


async def test_the_last_octet_of_an_answer_that_is_not_stored_says_that_it_is_the_last() -> None:
    origin, time = Origin(JSON, (b"etag", b'"1"')), Time()
    cache = make_cache(origin, time)
    await request(cache)
    time.seconds += 60

    origin.status, origin.headers, origin.chunks = 500, [(b"content-length", b"4")], [b"do", b"wn"]
    answer = await request(cache)

    bodies = [(m["body"], m["more_body"]) for m in answer.messages if m["type"] == "http.response.body"]
    assert bodies == [(b"do", True), (b"wn", False)]


async def test_a_304_without_a_condition_reaches_no_reader() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)
    time.seconds += 60

    answered_not_modified(origin)

    assert (await request(cache)).status == 502
    assert len(origin.requests) == 3


async def test_no_cache_of_the_origin_means_validation_every_time() -> None:
    origin = Origin(JSON, (b"etag", b'"1"'), (b"cache-control", b"no-cache"))
    cache = make_cache(origin, Time())
    await request(cache)
    answered_not_modified(origin, (b"cache-control", b"no-cache"))

    answers = [await request(cache) for _ in range(2)]

    assert [answer.exchange.outcome for answer in answers] == ["revalidated"] * 2
    assert len(origin.requests) == 3


async def ask(cache_control: str, age: float, *, may_bypass: bool = True) -> Answer:
    """Store an answer, let it grow ``age`` seconds old, and ask for it with Cache-Control."""
    time = Time()
    cache = make_cache(Origin(), time, client_may_bypass=may_bypass)
    await request(cache)
    time.seconds += age
    return await request(cache, ITEM, ("cache-control", cache_control))


@pytest.mark.parametrize(
    ("cache_control", "age", "status"),
    [
        pytest.param("no-cache", 1, "metaproxy; fwd=request; ttl=60; stored", id="§5.2.1.4 no-cache"),
        pytest.param("max-age=0", 1, "metaproxy; fwd=request; ttl=60; stored", id="§5.2.1.1 max-age=0"),
        pytest.param("max-age=20", 10, "metaproxy; hit; ttl=50", id="§5.2.1.1 young enough"),
        pytest.param("min-fresh=55", 10, "metaproxy; fwd=request; ttl=60; stored", id="§5.2.1.3 min-fresh"),
        pytest.param("max-stale=30", 70, "metaproxy; hit; ttl=-10", id="§5.2.1.2 max-stale"),
        pytest.param("only-if-cached", 10, "metaproxy; hit; ttl=50", id="§5.2.1.7 only-if-cached, and it is"),
    ],
)
async def test_what_a_client_asks_of_the_cache(cache_control: str, age: float, status: str) -> None:
    assert (await ask(cache_control, age)).header("cache-status") == status


async def test_only_if_cached_without_a_stored_answer_is_504() -> None:
    origin = Origin()

    answer = await request(make_cache(origin, Time()), ITEM, ("cache-control", "only-if-cached"))

    assert (answer.status, answer.exchange.reason) == (504, "only_if_cached")
    assert not origin.requests


async def test_an_operator_may_take_the_bypass_from_clients() -> None:
    assert (await ask("no-cache", 1, may_bypass=False)).exchange.outcome == "hit"


async def test_no_store_of_a_client_holds_even_then() -> None:
    cache = make_cache(Origin(), Time(), client_may_bypass=False)

    await request(cache, ITEM, ("cache-control", "no-store"))

    assert (await request(cache)).exchange.outcome == "forwarded"


async def test_a_stale_answer_is_sent_at_once_while_a_new_one_is_fetched() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time, routes=[stale_route(stale_while_revalidate=30)])
    await request(cache)
    origin.chunks = [b"new"]

    time.seconds += 70
    stale = await request(cache)
    await turn()
    fresh = await request(cache)

    assert (stale.exchange.outcome, stale.header("cache-status")) == ("stale", "metaproxy; hit; ttl=-10")
    assert (fresh.exchange.outcome, fresh.body) == ("hit", b"new")


async def test_many_stale_reads_fetch_once() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time, routes=[stale_route(stale_while_revalidate=30)])
    await request(cache)
    origin.opened.clear()

    time.seconds += 70
    for _ in range(5):
        await request(cache)
    origin.opened.set()
    await turn()

    assert len(origin.requests) == 2


@pytest.mark.parametrize("failure", ["fault", "500"])
async def test_a_stale_answer_is_sent_in_place_of_an_error(failure: str) -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time, routes=[stale_route(stale_if_error=300)])
    first = await request(cache)
    origin.status, origin.error = 500, UNREACHABLE if failure == "fault" else None

    time.seconds += 100
    answer = await request(cache)

    assert (answer.status, answer.body, answer.exchange.outcome) == (200, first.body, "stale")


async def test_without_leave_an_error_is_passed_on() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)
    origin.error = UNREACHABLE

    time.seconds += 100
    answer = await request(cache)

    assert (answer.status, answer.exchange.reason) == (502, "upstream_unreachable")


async def test_must_revalidate_goes_before_the_operators_leave() -> None:
    origin, time = Origin(JSON, (b"cache-control", b"max-age=60, must-revalidate")), Time()
    cache = make_cache(origin, time, routes=[stale_route(stale_if_error=300, stale_while_revalidate=300)])
    await request(cache)
    origin.error = UNREACHABLE

    time.seconds += 100

    assert (await request(cache)).status == 502


@pytest.mark.parametrize(
    ("range_", "status", "body", "content_range"),
    [
        pytest.param("bytes=0-4", 206, b'{"met', "bytes 0-4/30", id="§3.3 a part of the stored whole"),
        pytest.param("bytes=-2", 206, b"}}", "bytes 28-29/30", id="RFC 9110 §14.1.2 the end"),
        pytest.param("bytes=30-", 416, b"", "bytes */30", id="RFC 9110 §15.5.17 beyond the end"),
        pytest.param(
            "bytes=0-1,4-5", 200, b'{"meta": {"label": "Updated"}}', None, id="RFC 9110 §14.2 several"
        ),
    ],
)
async def test_a_range_of_a_stored_answer(
    range_: str, status: int, body: bytes, content_range: str | None
) -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    answer = await request(cache, ITEM, ("range", range_))

    assert (answer.status, answer.body, answer.header("content-range")) == (status, body, content_range)
    assert answer.header("content-length") == str(len(body))


async def test_if_range_of_another_copy_gets_the_whole() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    answer = await request(cache, ITEM, ("range", "bytes=0-4"), ("if-range", '"old"'))

    assert answer.status == 200


async def test_a_range_that_misses_is_passed_on_and_the_whole_that_answers_it_is_stored() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())

    answer = await request(cache, ITEM, ("range", "bytes=0-4"))
    await request(cache)

    assert answer.header("cache-status") == "metaproxy; fwd=uri-miss"
    assert len(origin.requests) == 1
