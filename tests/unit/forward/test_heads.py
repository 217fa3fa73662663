"""What goes through a proxy and what it adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import EMPTY_QUERY, Exchange
from metaproxy.forward.engine.parser import ResponseHead
from metaproxy.forward.heads import RequestHeads, has_body, response_fields, upstream_request_id
from metaproxy.protocol.mount import Mount
from tests.asgi_driver import make_scope

Fields = list[tuple[bytes, bytes]]

AUTHORITY = b"10.1.2.3:8774"


def sent(
    received: Fields, *, heads: RequestHeads | None = None, exchange: Exchange | None = None, **scope: object
) -> Fields:
    """The fields that the upstream gets for those that came."""
    heads = heads or RequestHeads(via=b"1.1 metaproxy")
    exchange = exchange or Exchange(request_id="req-1", started=0.0)
    return heads.fields(exchange, make_scope("GET", "/", received, scope), AUTHORITY)


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field_name, value in fields if field_name == name]


def test_fields_pass_in_their_order_with_their_duplicates() -> None:
    received = [(b"x-b", b"2"), (b"accept", b"*/*"), (b"x-a", b"1"), (b"x-b", b"3")]

    passed = [field for field in sent(received) if field in received]

    assert passed == received


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    ],
)
def test_what_ends_at_this_hop_does_not_pass(name: bytes) -> None:
    assert values(sent([(name, b"trailers")]), name) == []


def test_what_connection_names_ends_at_this_hop() -> None:
    fields = sent([(b"connection", b"close, X-Once"), (b"x-once", b"1"), (b"x-twice", b"2")])

    assert values(fields, b"x-once") == []
    assert values(fields, b"x-twice") == [b"2"]


@pytest.mark.parametrize(
    "name", [b"x-user-id", b"x-roles", b"x-identity-status", b"x-auth-token", b"content-length"]
)
def test_a_client_cannot_take_away_identity_or_framing(name: bytes) -> None:
    fields = sent([(b"connection", name), (name, b"1")])

    assert values(fields, name) == [b"1"]


@pytest.mark.parametrize("name", [b"via", b"x-forwarded-for", b"host", b"x-openstack-request-id"])
def test_a_client_cannot_take_away_what_the_proxy_says(name: bytes) -> None:
    assert len(values(sent([(b"connection", name)]), name)) == 1


def test_a_chunked_body_stays_chunked() -> None:
    fields = sent([(b"transfer-encoding", b"chunked")])

    assert values(fields, b"transfer-encoding") == [b"chunked"]


def test_no_framing_is_invented() -> None:
    names = {name for name, _ in sent([])}

    assert names.isdisjoint({b"content-length", b"transfer-encoding"})


@pytest.mark.parametrize(
    ("host_header", "received", "host"),
    [
        ("preserve", [(b"host", b"compute.example")], b"compute.example"),
        ("preserve", [], AUTHORITY),
        ("upstream", [(b"host", b"compute.example")], AUTHORITY),
    ],
)
def test_host_comes_first_and_once(host_header: str, received: Fields, host: bytes) -> None:
    heads = RequestHeads(
        via=b"1.1 metaproxy", host_header="upstream" if host_header == "upstream" else "preserve"
    )

    fields = sent([(b"accept", b"*/*"), *received], heads=heads)

    assert fields[0] == (b"host", host)
    assert values(fields, b"host") == [host]


def test_we_stand_last_in_via() -> None:
    fields = sent([(b"via", b"1.0 first"), (b"via", b"1.1 second")])

    assert values(fields, b"via") == [b"1.0 first, 1.1 second, 1.1 metaproxy"]


def test_the_peer_stands_last_in_x_forwarded_for() -> None:
    fields = sent([(b"x-forwarded-for", b"203.0.113.7")], client=("192.0.2.1", 40000))

    assert values(fields, b"x-forwarded-for") == [b"203.0.113.7, 192.0.2.1"]


def test_a_peer_without_address_leaves_x_forwarded_for_alone() -> None:
    assert values(sent([], client=None), b"x-forwarded-for") == []
    assert values(sent([(b"x-forwarded-for", b"203.0.113.7")], client=None), b"x-forwarded-for") == [
        b"203.0.113.7"
    ]


def test_the_upstream_is_told_the_clients_scheme_and_host() -> None:
    exchange = Exchange(request_id="req-1", started=0.0, scheme="https")

    fields = sent([(b"host", b"compute.example")], exchange=exchange)

    assert values(fields, b"x-forwarded-proto") == [b"https"]
    assert values(fields, b"x-forwarded-host") == [b"compute.example"]


def test_the_host_that_a_trusted_proxy_was_asked_for_stays() -> None:
    fields = sent([(b"host", b"inside"), (b"x-forwarded-host", b"compute.example")])

    assert values(fields, b"x-forwarded-host") == [b"compute.example"]


PROXY = ("192.0.2.1", 40000)
HOSTS: list[tuple[Fields, bytes, bytes]] = [
    (
        [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-host", b"api.example")],
        b"for=203.0.113.7;proto=https;host=api.example, for=192.0.2.1;proto=http;host=inside",
        b"api.example",
    ),
    (
        [(b"x-forwarded-for", b"203.0.113.7, 192.0.2.9"), (b"x-forwarded-host", b"api.example:1")],
        b'for=203.0.113.7;proto=https;host="api.example:1", for=192.0.2.9;proto=https, '
        b"for=192.0.2.1;proto=http;host=inside",
        b"api.example:1",
    ),
    (
        [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"api.example")],
        b"for=192.0.2.1;proto=https;host=api.example",
        b"api.example",
    ),
    ([(b"x-forwarded-proto", b"https")], b"for=192.0.2.1;proto=https;host=inside", b"inside"),
    (
        [(b"forwarded", b"for=203.0.113.7;proto=https;host=api.example")],
        b"for=203.0.113.7;proto=https;host=api.example, for=192.0.2.1;proto=http;host=inside",
        b"api.example",
    ),
    (
        [(b"forwarded", b"host=evil;for=6.6.6.6, for=203.0.113.7;host=api.example, for=192.0.2.9;host=b")],
        b"host=evil;for=6.6.6.6, for=203.0.113.7;host=api.example, for=192.0.2.9;host=b, "
        b"for=192.0.2.1;proto=http;host=inside",
        b"api.example",
    ),
    (
        [(b"forwarded", b"for=_hidden;host=api.example")],
        b"for=_hidden;host=api.example, for=192.0.2.1;proto=http;host=inside",
        b"api.example",
    ),
    (
        [(b"forwarded", b'for=203.0.113.7;host="a b"')],
        b'for=203.0.113.7;host="a b", for=192.0.2.1;proto=http;host=inside',
        b"inside",
    ),
]


@pytest.mark.parametrize(("received", "forwarded", "host"), HOSTS)
def test_both_families_say_for_which_host_and_by_which_scheme_the_client_has_asked(
    received: Fields, forwarded: bytes, host: bytes
) -> None:
    exchange = Exchange(request_id="req-1", started=0.0, scheme="https", client_address="203.0.113.7")

    fields = sent([(b"host", b"inside"), *received], exchange=exchange, client=PROXY)

    assert values(fields, b"forwarded") == [forwarded]
    assert values(fields, b"x-forwarded-host") == [host]
    assert values(fields, b"x-forwarded-proto") == [b"https"]


@pytest.mark.parametrize(
    ("client", "received", "forwarded"),
    [
        (("192.0.2.1", 4), [], b"for=192.0.2.1;proto=http"),
        (("2001:db8::1", 4), [], b'for="[2001:db8::1]";proto=http'),
        (None, [], b"for=unknown;proto=http"),
        (("192.0.2.1", 4), [(b"host", b"api:8774")], b'for=192.0.2.1;proto=http;host="api:8774"'),
        (("192.0.2.1", 4), [(b"host", b'a"b\\c')], b'for=192.0.2.1;proto=http;host="a\\"b\\\\c"'),
        (
            ("192.0.2.1", 4),
            [(b"forwarded", b"for=203.0.113.7")],
            b"for=203.0.113.7, for=192.0.2.1;proto=http",
        ),
    ],
)
def test_forwarded_tells_of_the_peer(
    client: tuple[str, int] | None, received: Fields, forwarded: bytes
) -> None:
    assert values(sent(received, client=client), b"forwarded") == [forwarded]


@pytest.mark.parametrize(
    ("global_request_id", "told"), [("", b"req-1"), ("req-of-the-caller", b"req-of-the-caller")]
)
def test_the_request_id_follows_the_request(global_request_id: str, told: bytes) -> None:
    exchange = Exchange(request_id="req-1", started=0.0, global_request_id=global_request_id)

    fields = sent([(b"x-openstack-request-id", b"from the client")], exchange=exchange)

    assert values(fields, b"x-openstack-request-id") == [told]


raw_bytes = st.binary(max_size=40).map(lambda octets: octets.replace(b"?", b""))


@given(raw_bytes, raw_bytes)
def test_path_and_query_stay_byte_for_byte(path: bytes, query: bytes) -> None:
    scope = {"raw_path": b"/" + path, "query_string": query, "path": "/decoded"}

    target = RequestHeads(via=b"1.1 metaproxy").target(scope)

    assert target == b"/" + path + (b"?" + query if query else b"")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/compute/v2.1/images", b"/v2.1/images"),
        ("/compute", b"/"),
        ("/compute/", b"/"),
        ("/compute?limit=1", b"/?limit=1"),
        ("/computers/v2.1", b"/computers/v2.1"),
        ("/v2.1/compute", b"/v2.1/compute"),
    ],
)
def test_a_prefix_is_taken_off_as_whole_segments(path: str, target: bytes) -> None:
    heads = RequestHeads(via=b"1.1 metaproxy", mount=Mount("/compute"))

    assert heads.target(make_scope("GET", path)) == target


def test_a_server_that_keeps_no_raw_path_gets_it_escaped_again() -> None:
    heads = RequestHeads(via=b"1.1 metaproxy")

    assert heads.target({"path": "/a b/ü", "query_string": b""}) == b"/a%20b/%C3%BC"


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"1")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
def test_a_request_has_a_body_where_its_framing_says_so(received: Fields, expected: bool) -> None:
    assert has_body(received) is expected


def test_a_response_passes_end_to_end_in_order_with_duplicates() -> None:
    received = [
        (b"vary", b"OpenStack-API-Version"),
        (b"connection", b"close, x-once"),
        (b"x-once", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"set-cookie", b"a=1"),
        (b"vary", b"X-OpenStack-Nova-API-Version"),
        (b"set-cookie", b"b=2"),
    ]

    assert response_fields(ResponseHead(200, received)) == [
        (b"vary", b"OpenStack-API-Version"),
        (b"set-cookie", b"a=1"),
        (b"vary", b"X-OpenStack-Nova-API-Version"),
        (b"set-cookie", b"b=2"),
    ]


def test_a_response_that_never_has_a_body_loses_its_length() -> None:
    received = [(b"content-length", b"30"), (b"etag", b'"1"')]

    assert response_fields(ResponseHead(304, received)) == [(b"etag", b'"1"')]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], ""),
        ([(b"x-openstack-request-id", b"req-a")], "req-a"),
        ([(b"x-openstack-request-id", b"req-a"), (b"x-compute-request-id", b"req-b")], "req-b"),
    ],
)
def test_the_upstreams_request_id_is_found(fields: Fields, found: str) -> None:
    assert upstream_request_id(dict(fields)) == found


def test_via_tells_the_version_in_which_the_request_came() -> None:
    heads = RequestHeads(via=b"1.1 metaproxy")
    exchange = Exchange(request_id="req-1", started=0.0)
    for version in ("1.0", "1.1"):
        scope = {"type": "http", "method": "GET", "http_version": version, "headers": [(b"via", b"1.1 a")]}

        fields = dict(heads.fields(exchange, scope, b"a"))

        assert fields[b"via"] == b"1.1 a, %b metaproxy" % version.encode()


def test_a_question_mark_without_a_query_is_passed_on() -> None:
    heads = RequestHeads(via=b"1.1 metaproxy")
    scope = {"path": "/a", "raw_path": b"/a", "query_string": b""}

    assert heads.target(scope) == b"/a"
    assert heads.target({**scope, EMPTY_QUERY: True}) == b"/a?"
