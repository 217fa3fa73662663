"""The cache stage: what is answered from memory, to whom, and how it looks."""

from typing import Any

import pytest

from metaproxy.cache.settings import CacheRoute
from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from tests.asgi_driver import make_scope
from tests.filters.caching import (
    ALICE,
    ANYTHING,
    BOB,
    ITEM,
    ITEM_ROUTE,
    JSON,
    MALLORY,
    Origin,
    Time,
    make_cache,
    request,
)


async def test_a_second_read_is_answered_from_memory() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)

    first = await request(cache)
    time.seconds += 10
    second = await request(cache)

    assert (second.status, second.body) == (200, first.body)
    assert len(origin.requests) == 1
    assert (first.exchange.outcome, second.exchange.outcome) == ("forwarded", "hit")


async def test_cache_status_tells_a_miss_from_a_hit() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)

    first = await request(cache)
    time.seconds += 10
    second = await request(cache)

    assert first.header("cache-status") == "metaproxy; fwd=uri-miss; ttl=60; stored"
    assert second.header("cache-status") == "metaproxy; hit; ttl=50"
    assert second.exchange.cache_status == "metaproxy; hit; ttl=50"


async def test_a_hit_tells_its_age_and_its_length() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 10
    answer = await request(cache)

    assert answer.header("age") == "10"
    assert answer.header("content-length") == "30"


async def test_a_hit_has_the_date_of_the_origin() -> None:
    time = Time()
    date = time.date(-3)
    cache = make_cache(Origin(JSON, (b"date", date)), time)

    await request(cache)

    assert (await request(cache)).header("date") == date.decode()


async def test_an_answer_without_a_date_gets_that_of_its_arrival() -> None:
    time = Time()
    cache = make_cache(Origin(), time)
    await request(cache)

    time.seconds += 10

    assert (await request(cache)).header("date") == time.date(-10).decode()


@pytest.mark.parametrize(
    "name", ["x-compute-request-id", "x-openstack-request-id", "set-cookie", "keep-alive"]
)
async def test_a_hit_has_nothing_of_another_exchange(name: str) -> None:
    origin = Origin(JSON, (name.encode(), b"theirs"), (b"cache-control", b"public, max-age=60"))
    cache = make_cache(origin, Time())

    await request(cache)

    assert (await request(cache)).header(name) is None


async def test_a_stale_answer_is_fetched_anew() -> None:
    origin, time = Origin(), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 60
    answer = await request(cache)

    assert len(origin.requests) == 2
    assert answer.header("cache-status") == "metaproxy; fwd=stale; ttl=60; stored"


async def test_a_404_is_stored_shortly() -> None:
    origin, time = Origin(status=404), Time()
    cache = make_cache(origin, time)
    await request(cache)

    time.seconds += 4
    known = await request(cache)
    time.seconds += 1
    forgotten = await request(cache)

    assert (known.status, known.exchange.outcome) == (404, "hit")
    assert forgotten.exchange.outcome == "forwarded"


async def test_an_operator_may_tell_hits_apart_by_their_status() -> None:
    cache = make_cache(Origin(), Time(), hit_status=203)

    assert (await request(cache)).status == 200
    assert (await request(cache)).status == 203


async def test_only_a_stored_200_becomes_a_203() -> None:
    cache = make_cache(Origin(status=404), Time(), hit_status=203)
    await request(cache)

    assert (await request(cache)).status == 404


async def test_head_of_a_stored_get_is_a_hit_without_a_body() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())
    await request(cache)

    answer = await request(cache, method="HEAD")

    assert (answer.body, answer.header("content-length")) == (b"", "30")
    assert len(origin.requests) == 1


async def test_head_that_misses_is_forwarded_and_not_stored() -> None:
    origin = Origin(body=b"")
    cache = make_cache(origin, Time())

    answer = await request(cache, method="HEAD")
    await request(cache)

    assert answer.header("cache-status") == "metaproxy; fwd=uri-miss"
    assert [scope["method"] for scope in origin.requests] == ["HEAD", "GET"]


async def test_a_path_that_no_route_names_is_never_stored() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())

    await request(cache, "/v2.1/images/i1")
    answer = await request(cache, "/v2.1/images/i1")

    assert len(origin.requests) == 2
    assert answer.header("cache-status") == "metaproxy; fwd=bypass"


async def test_options_is_forwarded_and_purges_nothing() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    answer = await request(cache, method="OPTIONS")

    assert answer.header("cache-status") == "metaproxy; fwd=method"
    assert (await request(cache)).exchange.outcome == "hit"


async def test_without_an_identity_nothing_is_stored() -> None:
    origin = Origin()
    cache = make_cache(origin, Time())

    await request(cache, identity=None)
    await request(cache, identity=None)

    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("scope", "other", "shares"),
    [
        pytest.param("project", BOB, True, id="project: another user of it with the same roles"),
        pytest.param("project", MALLORY, False, id="project: another project"),
        pytest.param("user", BOB, False, id="user: another user"),
        pytest.param("token", BOB, False, id="token: another token"),
        pytest.param(
            "user", Identity(user_id="alice", project_id="p1", roles=("member",)), True, id="user: again"
        ),
    ],
)
async def test_who_shares_an_answer(scope: str, other: Identity, shares: bool) -> None:
    cache = make_cache(Origin(), Time(), scope=scope)
    await request(cache, identity=ALICE)

    assert ((await request(cache, identity=other)).exchange.outcome == "hit") is shares


async def test_other_roles_in_the_same_project_share_nothing() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, identity=ALICE)

    reader = Identity(user_id="alice", project_id="p1", roles=("reader",), token_digest=b"other")

    assert (await request(cache, identity=reader)).exchange.outcome == "forwarded"


async def test_a_scope_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="scope\n  Input should be 'project', 'user', 'token' or 'shared'"):
        make_cache(Origin(), Time(), scope="everybody")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param("application/json", "*/*", True, id="both mean JSON"),
        pytest.param("application/json", "application/xml", False, id="JSON and XML"),
        pytest.param(
            "application/json, application/xml;q=0.5", "application/json", True, id="JSON preferred"
        ),
        pytest.param("application/json", "text/html", False, id="a type that is not the API's"),
        pytest.param("text/html", "text/html", True, id="the same unknown type"),
    ],
)
async def test_representations_are_kept_apart(first: str, second: str, same: bool) -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, ITEM, ("accept", first))

    answer = await request(cache, ITEM, ("accept", second))

    assert (answer.exchange.outcome == "hit") is same


async def test_microversions_that_vary_names_are_kept_apart() -> None:
    origin = Origin(JSON, (b"vary", b"OpenStack-API-Version"), (b"vary", b"X-OpenStack-Nova-API-Version"))
    cache = make_cache(origin, Time())
    old, new = ("openstack-api-version", "compute 2.1"), ("openstack-api-version", "compute 2.39")
    await request(cache, ITEM, old)

    miss = await request(cache, ITEM, new)

    assert miss.header("cache-status") == "metaproxy; fwd=vary-miss; ttl=60; stored"
    assert (await request(cache, ITEM, old)).exchange.outcome == "hit"
    assert (await request(cache, ITEM, new)).exchange.outcome == "hit"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param("?a=1&b=2", "?b=2&a=1", True, id="the order of names says nothing"),
        pytest.param("?a=1&a=2", "?a=2&a=1", False, id="the order of one name's values does"),
        pytest.param("", "?", True, id="an empty query is none"),
        pytest.param("", "?a=1", False, id="another query"),
    ],
)
async def test_queries_of_an_image(first: str, second: str, same: bool) -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, ITEM + first)

    assert ((await request(cache, ITEM + second)).exchange.outcome == "hit") is same


async def test_elsewhere_a_query_is_taken_as_it_is() -> None:
    cache = make_cache(Origin(), Time(), routes=[CacheRoute(path="/**", ttl=60)], scope="shared")
    await request(cache, "/x?a=1&b=2")

    assert (await request(cache, "/x?b=2&a=1")).exchange.outcome == "forwarded"


@pytest.mark.parametrize(
    "name",
    ["x-forwarded-host", "x-forwarded-proto", "x-original-url", "x-rewrite-url", "forwarded"],
)
async def test_a_field_that_may_change_links_and_routes_is_part_of_the_key(name: str) -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, ITEM, (name, "host=evil"))

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


async def test_addresses_in_forwarded_do_not_part_clients() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, ITEM, ("forwarded", "for=192.0.2.1;host=api"))

    answer = await request(cache, ITEM, ("forwarded", "for=192.0.2.2;host=api"))

    assert answer.exchange.outcome == "hit"


async def test_hosts_are_kept_apart() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache, ITEM, ("host", "other"))

    assert (await request(cache, ITEM)).exchange.outcome == "forwarded"


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        pytest.param(("content-length", "5"), "body", id="a body"),
        pytest.param(("transfer-encoding", "chunked"), "body", id="a body of unknown length"),
        pytest.param(("x-http-method-override", "DELETE"), "method_override", id="another method"),
        pytest.param(("if-match", '"1"'), "condition", id="RFC 9111 §4.3.2 If-Match"),
        pytest.param(("if-unmodified-since", "x"), "condition", id="RFC 9111 §4.3.2 If-Unmodified-Since"),
        pytest.param(("authorization", "Basic x"), "credentials", id="credentials nobody here has checked"),
    ],
)
async def test_a_request_that_goes_past_the_cache(header: tuple[str, str], detail: str) -> None:
    origin = Origin()
    cache = make_cache(origin, Time())
    await request(cache)

    answer = await request(cache, ITEM, header)

    assert answer.header("cache-status") == f"metaproxy; fwd=bypass; detail={detail}"
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("credential", "said", "stored"),
    [
        pytest.param("authorization", b"max-age=60", False, id="RFC 9111 §3.5 Authorization"),
        pytest.param("x-auth-token", b"max-age=60", False, id="a token is a credential"),
        pytest.param("x-auth-token", b"public, max-age=60", True, id="RFC 9111 §3.5 public"),
    ],
)
async def test_without_partitions_credentials_keep_an_answer_private(
    credential: str, said: bytes, stored: bool
) -> None:
    cache = make_cache(Origin(JSON, (b"cache-control", said)), Time(), scope="shared", routes=[ANYTHING])

    await request(cache, "/x", (credential, "secret"))

    assert ((await request(cache, "/x")).exchange.outcome == "hit") is stored


@pytest.mark.parametrize(
    ("scope", "said", "stored"),
    [
        pytest.param("shared", b"", False, id="a session's page, of which the origin says nothing"),
        pytest.param("shared", b"max-age=60", True, id="the origin says for how long"),
        pytest.param("shared", b"public", True, id="the origin says for whom"),
        pytest.param("project", b"", True, id="a partition has checked who asks"),
    ],
)
async def test_without_partitions_what_a_cookie_brought_is_not_guessed_to_be_for_all(
    scope: str, said: bytes, stored: bool
) -> None:
    fields = (JSON, (b"cache-control", said)) if said else (JSON,)
    cache = make_cache(Origin(*fields), Time(), scope=scope, routes=[CacheRoute(path="/**", ttl=60)])

    await request(cache, "/x", ("cookie", "session=alice"))

    assert ((await request(cache, "/x")).exchange.outcome == "hit") is stored


async def test_the_tightest_route_of_a_path_counts() -> None:
    routes = [CacheRoute(path="/v2.1/**", ttl=5), ITEM_ROUTE]
    cache = make_cache(Origin(), Time(), routes=routes)

    assert (await request(cache)).header("cache-status") == "metaproxy; fwd=uri-miss; ttl=60; stored"


async def test_an_answer_larger_than_the_bound_of_an_entry_passes_unstored() -> None:
    origin = Origin(body=b"x" * 5000)
    cache = make_cache(origin, Time(), max_entry_bytes=4096)

    answers = [await request(cache) for _ in range(2)]

    assert [answer.body for answer in answers] == [b"x" * 5000] * 2
    assert len(origin.requests) == 2


async def test_an_answer_that_broke_off_is_not_stored() -> None:
    origin = Origin(JSON, (b"content-length", b"99"))
    cache = make_cache(origin, Time())

    await request(cache)
    await request(cache)

    assert len(origin.requests) == 2


def lookup(cache: Any, method: str = "GET") -> Any:
    scope = make_scope(method, ITEM, [("host", "api")])
    exchange = scope[SCOPE_KEY] = Exchange(request_id="req-1", started=0.0, identity=ALICE)
    return cache.lookup(exchange, scope)


async def test_lookup_has_the_whole_answer_ready_to_be_written() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    hit = lookup(cache)

    lines = b"".join(b"%b: %b\r\n" % field for field in hit.headers)
    assert hit.head_bytes == b"HTTP/1.1 200 OK\r\n" + lines
    assert hit.body == b'{"meta": {"label": "Updated"}}'


async def test_lookup_twice_is_the_same_as_once() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    assert lookup(cache) is lookup(cache)


async def test_lookup_says_when_a_stale_answer_needs_the_whole_stage() -> None:
    time = Time()
    route = CacheRoute(path=ITEM_ROUTE.path, ttl=60, stale_while_revalidate=30)
    cache = make_cache(Origin(), time, routes=[route])
    await request(cache)

    time.seconds += 70

    assert lookup(cache).revalidate


async def test_lookup_of_a_write_is_nothing() -> None:
    cache = make_cache(Origin(), Time())
    await request(cache)

    assert lookup(cache, "PUT") is None
