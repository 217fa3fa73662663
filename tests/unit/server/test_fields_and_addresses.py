"""What a field means, and who a client is: over real sockets, the first request and the remembered ones."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.server.whole import ITEM, TOKEN, Wire, site

AUTH = f"X-Auth-Token: {TOKEN}"
SERVER = "GET /v2.1/p1/servers/s1"
BY_ADDRESS: dict[str, Any] = {"rates": [{"name": "a", "rate": "3/hour", "per": ["address"]}]}
BEHIND: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"]}
ROUTES = [{"path": "/v2.1/{tenant_id}/images/{image_id}/metadata/{key}"}]
CACHED: tuple[dict[str, Any], ...] = ({}, {"cache": {"routes": ROUTES}})


@pytest.mark.parametrize("cached", CACHED)
async def test_a_clients_forwarded_is_nothing_beside_the_proxys_x_forwarded_for(
    tmp_path: Path, cached: dict[str, Any]
) -> None:
    async with site(tmp_path, server=BEHIND, limits=BY_ADDRESS, **cached) as proxy:
        client = await proxy.client()

        found = [
            await client.ask(AUTH, "X-Forwarded-For: 198.51.100.7", f"Forwarded: for=6.6.6.{n};proto=https")
            for n in range(5)
        ]

    assert [answer.status for answer in found] == [200, 200, 200, 413, 413]
    for [told] in proxy.upstream.got("forwarded"):
        assert told.startswith("for=198.51.100.7;proto=http, for=127.0.0.1;proto=http;host=")
    assert {told for [told] in proxy.upstream.got("x-forwarded-for")} == {"198.51.100.7, 127.0.0.1"}
    assert {told for [told] in proxy.upstream.got("x-forwarded-proto")} == {"http"}


async def test_where_forwarded_is_believed_a_clients_x_forwarded_for_is_nothing(tmp_path: Path) -> None:
    server = {**BEHIND, "forwarded_header": "forwarded"}
    async with site(tmp_path, server=server, limits=BY_ADDRESS) as proxy:
        client = await proxy.client()
        told = 'Forwarded: for="198.51.100.7:4711";proto=https;host="x;for=7.7.7.7"'

        found = [
            await client.ask(AUTH, told, f"X-Forwarded-For: 6.6.6.{n}", "X-Forwarded-Ssl: off")
            for n in range(4)
        ]

    assert [answer.status for answer in found] == [200, 200, 200, 413]
    assert {told for [told] in proxy.upstream.got("x-forwarded-for")} == {"198.51.100.7, 127.0.0.1"}
    assert {told for [told] in proxy.upstream.got("x-forwarded-proto")} == {"https"}
    assert proxy.upstream.got("x-forwarded-ssl") == [[]] * 3


@pytest.mark.parametrize("cached", CACHED)
async def test_a_reload_that_names_the_other_family_holds_for_remembered_heads(
    tmp_path: Path, cached: dict[str, Any]
) -> None:
    async with site(tmp_path, server=BEHIND, limits=BY_ADDRESS, **cached) as proxy:
        client = await proxy.client()
        fields = (AUTH, "X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.8")
        before = await client.statuses(*fields)

        await proxy.reload(server={**BEHIND, "forwarded_header": "forwarded"}, limits=BY_ADDRESS, **cached)
        after = await client.statuses(*fields)

    assert (before, after) == ([200, 200, 200, 413], [200, 200, 200, 413])


@pytest.mark.parametrize(
    "spelled",
    [
        ("198.51.100.7", "::ffff:198.51.100.7", "::FFFF:c633:6407", "[::ffff:198.51.100.7]:80"),
        ("2001:db8::1", "2001:DB8:0:0::1", "2001:db8::5%aaaa", "[2001:db8::ffff]:443"),
    ],
)
@pytest.mark.parametrize("cached", CACHED)
async def test_one_client_has_one_counter_however_its_address_is_spelled(
    tmp_path: Path, spelled: tuple[str, ...], cached: dict[str, Any]
) -> None:
    async with site(tmp_path, server=BEHIND, limits=BY_ADDRESS, **cached) as proxy:
        client = await proxy.client()

        found = [(await client.ask(AUTH, f"X-Forwarded-For: {address}")).status for address in spelled]
        counters = await proxy.switch.application.rates.reset(f"address:{spelled[1]}")

    assert found == [200, 200, 200, 413]
    assert counters == 1


async def test_an_ipv6_prefix_of_128_counts_each_address(tmp_path: Path) -> None:
    async with site(tmp_path, server={**BEHIND, "ipv6_prefix": 128}, limits=BY_ADDRESS) as proxy:
        client = await proxy.client()

        found = [(await client.ask(AUTH, f"X-Forwarded-For: 2001:db8::{n}")).status for n in range(5)]

    assert found == [200] * 5


async def test_a_client_of_a_dual_stack_socket_has_its_ipv4_address(tmp_path: Path) -> None:
    async with site(tmp_path, listen="::", server=BEHIND, limits=BY_ADDRESS) as proxy:
        client = await proxy.client()

        found = await client.statuses(AUTH)
        counters = await proxy.switch.application.rates.reset("address:127.0.0.1")

    assert (found, counters) == ([200, 200, 200, 413], 1)
    assert {told for [told] in proxy.upstream.got("x-forwarded-for")} == {"127.0.0.1"}


@pytest.mark.parametrize("trusted", [True, False])
async def test_peers_on_a_unix_socket_are_trusted_by_name(tmp_path: Path, trusted: bool) -> None:
    server = {"trusted_proxies": ["unix"] if trusted else []}
    async with site(tmp_path, server=server, limits=BY_ADDRESS) as proxy:
        client = await proxy.client(unix=True)

        found = [
            (await client.ask(AUTH, f"X-Forwarded-For: 198.51.100.{n}", "X-Forwarded-Proto: https")).status
            for n in (7, 8, 9, 10)
        ]

    assert found == ([200] * 4 if trusted else [200, 200, 200, 413])
    told = ["198.51.100.7", "198.51.100.8", "198.51.100.9", "198.51.100.10"]
    assert proxy.upstream.got("x-forwarded-for") == ([[address] for address in told] if trusted else [[]] * 3)
    assert proxy.upstream.got("x-forwarded-proto")[0] == ["https" if trusted else "http"]


async def test_who_is_not_on_the_unix_socket_is_not_trusted_with_those_who_are(tmp_path: Path) -> None:
    async with site(tmp_path, server={"trusted_proxies": ["unix"]}, limits=BY_ADDRESS) as proxy:
        client = await proxy.client()

        found = [(await client.ask(AUTH, f"X-Forwarded-For: 198.51.100.{n}")).status for n in range(4)]

    assert found == [200, 200, 200, 413]


@pytest.mark.parametrize("server", [{}, {"trusted_proxies": ["unix"]}])
@pytest.mark.parametrize("cached", CACHED)
async def test_what_only_a_proxy_may_say_reaches_no_upstream_from_a_client(
    tmp_path: Path, server: dict[str, Any], cached: dict[str, Any]
) -> None:
    names = ("X-Forwarded-Ssl", "X-Forwarded-User", "X-Real-IP", "True-Client-IP", "X-Original-URL")
    async with site(tmp_path, server=server, **cached) as proxy:
        client = await proxy.client()
        forged = [f"{name}: evil" for name in (*names, "X-Forwarded-Client-Cert", "Remote-User")]

        found = [await client.ask(AUTH, *forged, target=target) for target in [f"GET {ITEM}", SERVER] * 3]

    assert {answer.status for answer in found} == {200}
    for name in ("x-forwarded-client-cert", "remote-user", *names):
        assert not any(proxy.upstream.got(name.lower()))


async def test_what_a_trusted_proxy_says_is_part_of_the_key(tmp_path: Path) -> None:
    async with site(tmp_path, server=BEHIND, cache={"routes": ROUTES}) as proxy:
        client = await proxy.client()
        fields = [[], ["X-Forwarded-User: eve"], ["X-Forwarded-Email: eve"], ["X-Real-IP: 198.51.100.7"]]

        found = [await client.ask(AUTH, *more) for more in fields for _ in range(3)]

    hits = ["; hit" in answer.fields["cache-status"] for answer in found]
    assert hits == [False, True, True] * 3 + [True] * 3


@pytest.mark.parametrize("cached", CACHED)
async def test_blanks_behind_a_value_are_no_part_of_it(tmp_path: Path, cached: dict[str, Any]) -> None:
    async with site(tmp_path, **cached) as proxy:
        client = await proxy.client()

        reads = [await client.statuses(f"{AUTH}{blanks}", "X-Foo: bar \t") for blanks in (" ", "\t", " \t ")]
        written = [
            await client.ask(AUTH, "Content-Length: 2 ", *more, target="POST /v2.1/p1/servers", body=b"{}")
            for more in ([], ["Expect: 100-continue\t"], ["Content-Type: application/json "])
        ]

    assert reads == [[200] * 4] * 3
    assert [answer.status for answer in written] == [200] * 3
    assert {tuple(values) for values in proxy.upstream.got("x-foo")} <= {("bar",), ()}
    assert not [v for head in proxy.upstream.heads for vs in head.values() for v in vs if v != v.strip()]


async def test_blanks_behind_the_values_of_an_answer_are_no_part_of_them(tmp_path: Path) -> None:
    async with site(tmp_path, cache={"routes": ROUTES}) as proxy:
        proxy.upstream.answer = (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\nETag: "q" \t\r\n'
            b"Cache-Control: max-age=60 \r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\n"
        )
        client = await proxy.client()

        first = await client.ask(AUTH)
        again = [(await client.ask(AUTH, 'If-None-Match: "q"')).status for _ in range(3)]

    assert (first.status, first.fields["etag"]) == (200, '"q"')
    assert again == [304] * 3


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("OpenStack-API-Version", "compute 2.90", "Vary: OpenStack-API-Version"),
        ("Accept", "application/xml", "X-Nothing: 1"),
        ("X-Forwarded-Host", "evil", "X-Nothing: 1"),
    ],
)
async def test_a_field_that_connection_names_chooses_no_stored_answer(
    tmp_path: Path, name: str, value: str, other: str
) -> None:
    async with site(tmp_path, cache={"routes": ROUTES}) as proxy:
        proxy.upstream.answer = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{other}\r\n\r\nok".encode()
        client = await proxy.client()

        tricks = [await client.ask(AUTH, f"{name}: {value}", f"Connection: {name}") for _ in range(3)]
        plain = await client.ask(AUTH)
        honest = await client.ask(AUTH, f"{name}: {value}")

    assert {answer.status for answer in tricks} == {200}
    assert "; hit" in plain.fields["cache-status"]
    forged_host = name == "X-Forwarded-Host"  # is off in any case
    assert ("; hit" in honest.fields["cache-status"]) is forged_host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cache-Control", "no-store"),
        ("Cache-Control", "private"),
        ("Vary", "*"),
        ("Age", "1000000"),
        ("CDN-Cache-Control", "no-store"),
    ],
)
async def test_connection_does_not_hide_from_the_cache_what_an_answer_says(
    tmp_path: Path, name: str, value: str
) -> None:
    async with site(tmp_path, cache={"routes": ROUTES}) as proxy:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: {name}\r\n{name}: {value}\r\n\r\n"
        proxy.upstream.answer = f"{head}ok".encode()
        client = await proxy.client()

        answers = [await client.ask(AUTH) for _ in range(4)]

    assert [answer.status for answer in answers] == [200] * 4
    assert not [answer for answer in answers if "; hit" in answer.fields["cache-status"]]


@pytest.mark.parametrize("cached", CACHED)
async def test_a_token_that_connection_names_lets_nobody_in(tmp_path: Path, cached: dict[str, Any]) -> None:
    async with site(tmp_path, **cached) as proxy:
        client = await proxy.client()

        honest = await client.statuses(AUTH)
        found = await client.statuses(AUTH, "Connection: X-Auth-Token")

    assert (honest, found) == ([200] * 4, [401] * 4)


async def test_a_client_cannot_name_away_what_its_proxy_says_of_it(tmp_path: Path) -> None:
    async with site(tmp_path, server=BEHIND, limits=BY_ADDRESS) as proxy:
        client = await proxy.client()

        found = [
            (await client.ask(AUTH, "X-Forwarded-For: 198.51.100.7", f"Connection: {name}")).status
            for name in ("X-Forwarded-For", "x-forwarded-for, close-not", "forwarded,X-FORWARDED-FOR")
        ]
        another = (await client.ask(AUTH)).status
        last = (await client.ask(AUTH, "X-Forwarded-For: 198.51.100.7")).status

    assert (found, another, last) == ([200] * 3, 200, 413)


async def test_of_what_hosts_are_forwarded_the_nearest_proxys_counts(tmp_path: Path) -> None:
    async with site(tmp_path, server=BEHIND, cache={"routes": ROUTES}) as proxy:
        client = await proxy.client()

        forged = [await client.ask(AUTH, f"X-Forwarded-Host: evil{n}, api.example") for n in range(3)]
        split = await client.ask(AUTH, "X-Forwarded-Host: evil", "X-Forwarded-Host: api.example")

    assert ["; hit" in answer.fields["cache-status"] for answer in (*forged, split)] == [
        False,
        True,
        True,
        True,
    ]
    assert proxy.upstream.got("x-forwarded-host") == [["api.example"]]


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (("2001:db8::1", "2001:db8::2", "2001:db8::3"), [False, False, True]),
        (("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"), [False, False, False]),
        (("::ffff:198.51.100.7", "198.51.100.7", "::ffff:c633:6407"), [False, False, True]),
        (("fe80::1%eth0", "fe80::1%eth1", "fe80::1"), [False, False, True]),
    ],
)
async def test_connections_are_counted_by_network(
    tmp_path: Path, addresses: tuple[str, ...], refused: list[bool]
) -> None:
    async with site(tmp_path, server={"max_connections_per_address": 2}) as proxy:
        ends = [Wire(address) for address in addresses]
        connections = [proxy.connection() for _ in ends]

        for connection, end in zip(connections, ends, strict=True):
            connection.connection_made(end)
        answered = [end.written.startswith(b"HTTP/1.1 503") for end in ends]
        for connection in connections:
            connection.connection_lost(None)

    assert answered == refused
    assert len(proxy.edge.addresses) == 0


@pytest.mark.parametrize(
    ("family", "field", "forwarded", "old"),
    [
        # What the client wrote in front of its own address does not come into the other family.
        (
            "x-forwarded",
            "X-Forwarded-For: 6.6.6.6, 198.51.100.7",
            "for=198.51.100.7;proto=http, ",
            "6.6.6.6, 198.51.100.7, 127.0.0.1",
        ),
        ("x-forwarded", "X-Forwarded-For: 6.6.6.6, unknown", "", "6.6.6.6, unknown, 127.0.0.1"),
        (
            "forwarded",
            "Forwarded: for=6.6.6.6, for=198.51.100.7",
            "for=6.6.6.6, for=198.51.100.7, ",
            "198.51.100.7, 127.0.0.1",
        ),
        # A quote without its fellow would swallow the element of the next proxy.
        ("forwarded", 'Forwarded: for=198.51.100.7, for=6.6.6.6;by="x', "", "127.0.0.1"),
        ("forwarded", 'Forwarded: for="_a b";proto=https', "", "127.0.0.1"),
        (
            "forwarded",
            "Forwarded: for=6.6.6.6;for=7.7.7.7, for=198.51.100.7",
            "for=198.51.100.7, ",
            "198.51.100.7, 127.0.0.1",
        ),
    ],
)
async def test_the_upstream_is_told_in_both_families_what_is_believed(
    tmp_path: Path, family: str, field: str, forwarded: str, old: str
) -> None:
    async with site(tmp_path, server={**BEHIND, "forwarded_header": family}) as proxy:
        client = await proxy.client()

        assert await client.statuses(AUTH, field) == [200] * 4

    own = "for=127.0.0.1;proto=http;host=compute.example"
    assert proxy.upstream.got("forwarded") == [[forwarded + own]] * 4
    assert proxy.upstream.got("x-forwarded-for") == [[old]] * 4
