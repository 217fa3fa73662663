"""RFC 9111 §3: what may be stored."""

from typing import Any

import pytest

from metaproxy.protocol.caching import directives, freshness, storing
from metaproxy.protocol.caching.storing import NotStorable, Policy, Storable

Fields = list[tuple[bytes, bytes]]

POLICY = Policy(ttl=60.0, negative_ttl=5.0)


def store(
    *fields: tuple[bytes, bytes],
    status: int = 200,
    request: bytes = b"",
    credentials: bool = False,
    cookie: bool = False,
    policy: Policy = POLICY,
) -> Storable | NotStorable:
    said = directives.of_response(fields)
    return storing.storing(
        status=status,
        fields=fields,
        asked=directives.parse_request(request),
        said=said,
        explicit_lifetime=freshness.explicit_lifetime(said, fields, 1_800_000_000.0),
        unauthenticated_credentials=credentials,
        cookie=cookie,
        policy=policy,
    )


def cache_control(value: bytes) -> tuple[bytes, bytes]:
    return b"cache-control", value


@pytest.mark.parametrize(
    ("arguments", "fields", "lifetime"),
    [
        pytest.param({}, [], 60, id="§4.2.2 silence: the ttl"),
        pytest.param({"status": 203}, [], 60, id="RFC 9110 §15.1 203"),
        pytest.param({"status": 204}, [], 60, id="RFC 9110 §15.1 204"),
        pytest.param({"status": 300}, [], 60, id="RFC 9110 §15.1 300"),
        pytest.param({"status": 301}, [], 60, id="RFC 9110 §15.1 301"),
        pytest.param({"status": 308}, [], 60, id="RFC 9110 §15.1 308"),
        pytest.param({"status": 404}, [], 5, id="RFC 9110 §15.1 404 shortly"),
        pytest.param({"status": 405}, [], 5, id="RFC 9110 §15.1 405 shortly"),
        pytest.param({"status": 410}, [], 5, id="RFC 9110 §15.1 410 shortly"),
        pytest.param({"status": 414}, [], 5, id="RFC 9110 §15.1 414 shortly"),
        pytest.param({"status": 501}, [], 5, id="RFC 9110 §15.1 501 shortly"),
        pytest.param({"status": 302}, [cache_control(b"max-age=9")], 9, id="§3 any status with a lifetime"),
        pytest.param({"status": 500}, [cache_control(b"max-age=9")], 9, id="§3 an error with a lifetime"),
        pytest.param({"status": 599}, [cache_control(b"max-age=9")], 9, id="§3 an unknown status with one"),
        pytest.param({"status": 302}, [cache_control(b"public")], 60, id="§4.2.2 public: the ttl"),
        pytest.param({}, [cache_control(b"max-age=0")], 0, id="§3 a lifetime of nothing"),
        pytest.param({}, [cache_control(b"no-cache")], 60, id="§5.2.2.4 no-cache is stored"),
        pytest.param({}, [cache_control(b'private="x"')], 60, id="§5.2.2.7 private with fields"),
        pytest.param(
            {}, [cache_control(b"must-understand, no-store, max-age=9")], 9, id="§5.2.2.3 understood"
        ),
        pytest.param({"credentials": True}, [cache_control(b"public, max-age=9")], 9, id="§3.5 public"),
        pytest.param({"credentials": True}, [cache_control(b"s-maxage=9")], 9, id="§3.5 s-maxage"),
        pytest.param(
            {"credentials": True},
            [cache_control(b"must-revalidate, max-age=9")],
            9,
            id="§3.5 must-revalidate",
        ),
        pytest.param({"cookie": True}, [cache_control(b"max-age=9")], 9, id="§4.2.2 a cookie and a lifetime"),
        pytest.param({"cookie": True}, [cache_control(b"public")], 60, id="§4.2.2 a cookie and public"),
        pytest.param({"request": b"no-cache"}, [], 60, id="§5.2.1.4 the client's no-cache does not hinder"),
        pytest.param({"request": b"max-age=0"}, [], 60, id="§5.2.1.1 the client's max-age does not hinder"),
        pytest.param({}, [(b"vary", b"accept")], 60, id="§4.1 Vary on a field"),
        pytest.param(
            {},
            [(b"set-cookie", b"a=b"), cache_control(b"max-age=9")],
            9,
            id="§7.3 Set-Cookie with a lifetime",
        ),
        pytest.param(
            {"policy": Policy(ttl=60, respect_origin=False)},
            [cache_control(b"max-age=9")],
            60,
            id="respect_origin off: the ttl goes first",
        ),
    ],
)
def test_it_is_stored(arguments: dict[str, Any], fields: Fields, lifetime: float) -> None:
    verdict = store(*fields, **arguments)

    assert isinstance(verdict, Storable)
    assert verdict.lifetime == lifetime


@pytest.mark.parametrize(
    ("arguments", "fields", "reason"),
    [
        pytest.param({}, [cache_control(b"no-store")], "no_store", id="§5.2.2.5 no-store"),
        pytest.param({}, [cache_control(b"no-store, max-age=60")], "no_store", id="§5.2.2.5 and a lifetime"),
        pytest.param({}, [cache_control(b"private, max-age=60")], "private", id="§5.2.2.7 private"),
        pytest.param({"request": b"no-store"}, [], "no_store", id="§5.2.1.5 the client's no-store"),
        pytest.param({"credentials": True}, [], "credentials", id="§3.5 credentials and silence"),
        pytest.param(
            {"credentials": True},
            [cache_control(b"max-age=60")],
            "credentials",
            id="§3.5 credentials and max-age",
        ),
        pytest.param({"cookie": True}, [], "cookie", id="§4.2.2 a cookie and silence"),
        pytest.param({"policy": Policy()}, [], "no_lifetime", id="§4.2.2 silence of both sides"),
        pytest.param({"policy": Policy()}, [(b"etag", b'"1"')], "no_lifetime", id="§4.2.2 a validator alone"),
        pytest.param({}, [(b"vary", b"*")], "vary", id="§4.1 Vary: *"),
        pytest.param({}, [(b"vary", b"accept, *")], "vary", id="§4.1 * in a list"),
        pytest.param({"status": 206}, [cache_control(b"max-age=9")], "status", id="§3.3 a part"),
        pytest.param({"status": 304}, [cache_control(b"max-age=9")], "status", id="§4.3.4 304 is no answer"),
        pytest.param({"status": 416}, [cache_control(b"max-age=9")], "status", id="RFC 9110 §15.5.17"),
        pytest.param({"status": 103}, [cache_control(b"max-age=9")], "status", id="§3 not final"),
        pytest.param({"status": 302}, [], "status", id="RFC 9110 §15.1 302 and silence"),
        pytest.param({"status": 401}, [], "status", id="RFC 9110 §15.1 401 and silence"),
        pytest.param({"status": 403}, [], "status", id="RFC 9110 §15.1 403 and silence"),
        pytest.param({"status": 413}, [], "status", id="RFC 9110 §15.1 413 and silence"),
        pytest.param({"status": 500}, [], "status", id="RFC 9110 §15.1 500 and silence"),
        pytest.param({"status": 503}, [], "status", id="RFC 9110 §15.1 503 and silence"),
        pytest.param(
            {"status": 599},
            [cache_control(b"must-understand, max-age=9")],
            "not_understood",
            id="§5.2.2.3 a status that is not understood",
        ),
        pytest.param({}, [(b"set-cookie", b"a=b")], "set_cookie", id="§7.3 Set-Cookie and silence"),
        pytest.param(
            {"policy": Policy(ttl=60, respect_origin=False)},
            [cache_control(b"no-store")],
            "no_store",
            id="respect_origin off: no-store holds",
        ),
        pytest.param(
            {"policy": Policy(ttl=60, respect_origin=False)},
            [cache_control(b"private")],
            "private",
            id="respect_origin off: private holds",
        ),
    ],
)
def test_it_is_not_stored(arguments: dict[str, Any], fields: Fields, reason: str) -> None:
    assert store(*fields, **arguments) == NotStorable(reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(b"connection", b"x-a", id="§3.1 Connection"),
        pytest.param(b"keep-alive", b"5", id="§3.1 Keep-Alive"),
        pytest.param(b"transfer-encoding", b"chunked", id="§3.1 Transfer-Encoding"),
        pytest.param(b"trailer", b"x", id="§3.1 Trailer"),
        pytest.param(b"upgrade", b"h2c", id="§3.1 Upgrade"),
        pytest.param(b"proxy-authenticate", b"x", id="§3.1 Proxy-Authenticate"),
        pytest.param(b"proxy-authentication-info", b"x", id="§3.1 Proxy-Authentication-Info"),
        pytest.param(b"set-cookie", b"a=b", id="§7.3 Set-Cookie"),
        pytest.param(b"age", b"5", id="§5.1 Age is told anew"),
        pytest.param(b"cache-status", b"other; hit", id="RFC 9211 Cache-Status of another exchange"),
        pytest.param(b"x-compute-request-id", b"req-1", id="the origin's request id"),
        pytest.param(b"x-openstack-request-id", b"req-1", id="the origin's request id, newer name"),
        pytest.param(b"x-user", b"alice", id="§5.2.2.7 named by private"),
        pytest.param(b"x-token", b"secret", id="§5.2.2.4 named by no-cache"),
    ],
)
def test_a_field_that_is_not_stored(name: bytes, value: bytes) -> None:
    said = directives.parse_response(b'private="x-user", no-cache="x-token"')

    assert storing.stored_fields([(name, value), (b"etag", b'"1"')], said) == [(b"etag", b'"1"')]


def test_fields_that_connection_names_are_not_stored() -> None:
    fields = [(b"connection", b"x-hop"), (b"x-hop", b"1"), (b"x-end", b"2")]

    assert storing.stored_fields(fields, directives.NOTHING_SAID) == [(b"x-end", b"2")]


def test_stored_fields_keep_their_order_and_their_doubles() -> None:
    fields = [(b"vary", b"a"), (b"link", b"1"), (b"vary", b"b"), (b"link", b"2")]

    assert storing.stored_fields(fields, directives.NOTHING_SAID) == fields
