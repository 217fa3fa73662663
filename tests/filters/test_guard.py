import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from metaproxy.filters.guard import SINGLE, Guard
from metaproxy.protocol import identity_headers
from tests.asgi_driver import Answer, drive


class Upstream:
    """Answers 200 and keeps the headers that reached it."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        self.headers = scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def send_to_guard(
    method: str = "GET", path: str = "/", headers: list[tuple[str, str]] | None = None, **options: object
) -> tuple[Answer, Upstream]:
    upstream = Upstream()
    guard = Guard(upstream, **options)  # type: ignore[arg-type] # options of one test each
    return await drive(guard, method, path, headers=headers or []), upstream


REFUSALS = [
    ("GET", "/a/../b", [], 400, "path_ambiguous"),
    ("GET", "/a%2Fb", [], 400, "path_ambiguous"),
    ("get", "/", [], 501, "method_unknown"),
    ("TRACE", "/", [], 501, "method_unknown"),
    ("CONNECT", "/", [], 501, "method_unknown"),
    ("BREW", "/", [], 501, "method_unknown"),
    ("GET", "/", [("X-Auth-Token", "a"), ("X-Auth-Token", "a")], 400, "header_repeated"),
    ("GET", "/", [("Host", "a"), ("Host", "b")], 400, "header_repeated"),
    ("POST", "/", [("Content-Length", "1"), ("Content-Length", "1")], 400, "header_repeated"),
    ("POST", "/", [("Content-Length", "1"), ("Transfer-Encoding", "chunked")], 400, "framing_ambiguous"),
    ("POST", "/", [("Transfer-Encoding", "gzip, chunked")], 501, "transfer_coding_unknown"),
    ("POST", "/", [("Transfer-Encoding", "chunked")] * 2, 501, "transfer_coding_unknown"),
    ("POST", "/", [("Expect", "the moon")], 417, "expectation_unknown"),
    ("GET", "/", [("Via", ", ".join(["1.1 metaproxy"] * 5))], 508, "loop_detected"),
    ("GET", "/", [(f"X-{number}", "v") for number in range(101)], 431, "headers_too_large"),
    ("GET", "/", [("X-Long", "v" * 70000)], 431, "headers_too_large"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "reason"), REFUSALS)
async def test_what_could_be_read_in_two_ways_is_refused(
    method: str, path: str, headers: list[tuple[str, str]], status: int, reason: str
) -> None:
    answer, upstream = await send_to_guard(method, path, headers)

    assert (answer.status, answer.exchange.outcome, answer.exchange.reason) == (status, "refused", reason)
    assert upstream.calls == 0
    [fault] = json.loads(answer.body).values()
    assert fault["code"] == status


@pytest.mark.parametrize("name", sorted(SINGLE))
async def test_a_field_that_stands_once_may_not_stand_twice(name: bytes) -> None:
    answer, upstream = await send_to_guard("POST", headers=[(name.decode(), "1"), (name.decode(), "1")])

    assert answer.exchange.reason == "header_repeated"
    assert upstream.calls == 0


async def test_list_fields_may_stand_twice_and_keep_their_order() -> None:
    headers = [("Accept", "a"), ("Vary", "x"), ("Accept", "b")]

    _, upstream = await send_to_guard(headers=headers)

    assert upstream.headers == [(b"accept", b"a"), (b"vary", b"x"), (b"accept", b"b")]


@given(st.sampled_from(sorted(identity_headers.RESERVED)), st.sampled_from(["-", "_", "."]), st.booleans())
async def test_no_spelling_of_an_identity_header_passes(name: bytes, separator: str, upper: bool) -> None:
    spelled = name.decode().replace("-", separator)
    spelled = spelled.upper() if upper else spelled

    _, upstream = await send_to_guard(headers=[(spelled, "forged"), ("Accept", "*/*")])

    assert upstream.headers == [(b"accept", b"*/*")]


@pytest.mark.parametrize("name", ["content_length", "x_auth_token", "x.y", "a_b"])
async def test_a_field_name_that_a_gateway_could_confuse_is_taken_off(name: str) -> None:
    answer, upstream = await send_to_guard(headers=[(name, "1")])

    assert answer.status == 200
    assert upstream.headers == []


@pytest.mark.parametrize("name", ["X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override"])
async def test_a_field_that_names_another_method_is_taken_off(name: str) -> None:
    for _ in range(2):  # names of fields are known the second time
        _, upstream = await send_to_guard(headers=[(name, "DELETE"), ("Accept", "*/*")])

        assert upstream.headers == [(b"accept", b"*/*")]


async def test_the_token_passes() -> None:
    _, upstream = await send_to_guard(headers=[("X-Auth-Token", "t"), ("X-Service-Token", "s")])

    assert upstream.headers == [(b"x-auth-token", b"t"), (b"x-service-token", b"s")]


FORWARDED = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]


async def test_an_untrusted_client_cannot_say_where_it_comes_from() -> None:
    answer, upstream = await send_to_guard(headers=FORWARDED)

    assert answer.exchange.client_address == "192.0.2.1"
    assert answer.exchange.scheme == "http"
    assert upstream.headers == []


async def test_a_trusted_proxy_says_where_the_client_is() -> None:
    trusted = [ip_network("192.0.2.0/24")]

    answer, upstream = await send_to_guard(headers=FORWARDED, trusted_proxies=trusted)

    assert answer.exchange.client_address == "203.0.113.7"
    assert answer.exchange.scheme == "https"
    assert len(upstream.headers) == 2
