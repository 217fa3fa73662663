"""What is valid and dangerous: a warning with the key, and silence about the safe form beside it."""

from pathlib import Path

import pytest

from metaproxy.preflight import Machine
from tests.unit.preflight.configured import ROOMY, said

LOGIN = "login: {user_id: u, password: '${PASSWORD}'}"
REMOTE_ADMIN = "{listen: 0.0.0.0:0, token: '${PASSWORD}'}"


def keystone(more: str = "", url: str = "https://keystone.example/v3") -> str:
    return f"{{provider: keystone-v3, url: '{url}', {LOGIN}{more}}}"


DANGEROUS = [
    ("identity", keystone(url="http://keystone.example/v3"), "identity.url", "in clear text"),
    ("identity", keystone(", tls: {verify: false}"), "identity.tls.verify", "in the server's place"),
    ("identity", keystone(", cache: {ttl: 1d}"), "identity.cache.ttl", "stays valid for up to 1d"),
    (
        "identity",
        keystone(", cache: {stale_if_unavailable: 2h}"),
        "identity.cache.stale_if_unavailable",
        "2h",
    ),
    ("identity", keystone(", cache: {negative_ttl: 2h}"), "identity.cache.negative_ttl", "is refused for 2h"),
    ("identity", keystone(", anonymous: [/, '/**']"), "identity.anonymous[1]", "opens /v2.1/p1/servers/s1"),
    ("identity", keystone(", anonymous: ['/v2.1/**']"), "identity.anonymous[0]", "opens /v2.1/p1/servers/s1"),
    ("identity", keystone(", on_missing: delegate"), "identity.on_missing", "which must refuse"),
    ("identity", keystone(", on_missing: delegate-always"), "identity.on_missing", "which must refuse"),
    ("upstream", "{targets: ['https://127.0.0.1:1'], tls: {verify: false}}", "upstream.tls.verify", "way"),
    ("admin", REMOTE_ADMIN, "admin.token", "can be guessed, and 0.0.0.0:0 can be reached"),
    ("admin", f"{{listen: 0.0.0.0:0, token: {'a' * 40}}}", "admin.token", "can be guessed"),
    (
        "server",
        "{listen: 127.0.0.1:0, trusted_proxies: [0.0.0.0/0]}",
        "server.trusted_proxies[0]",
        "everybody",
    ),
    ("server", "{listen: 127.0.0.1:0, trusted_proxies: ['::/0']}", "server.trusted_proxies[0]", "everybody"),
    (
        "server",
        "{listen: 127.0.0.1:0, trusted_proxies: [10.0.0.0/8, 128.0.0.0/1]}",
        "server.trusted_proxies[1]",
        "everybody",
    ),
    ("store", "{url: 'redis://:${PASSWORD}@redis.example'}", "store.url", "use rediss://"),
    ("store", "{url: 'redis://redis.example/0?password=${PASSWORD}'}", "store.url", "use rediss://"),
    ("store", "{url: 'rediss://redis.example?ssl_cert_reqs=none'}", "store.url", "switches the check"),
    (
        "store",
        "{url: 'redis+sentinel://:${PASSWORD}@127.0.0.1,redis.example/s'}",
        "store.url",
        "use rediss+sentinel://",
    ),
    (
        "store",
        "{url: 'redis+sentinel://redis.example/s?sentinel_password=${PASSWORD}'}",
        "store.url",
        "use rediss+sentinel://",
    ),
    (
        "store",
        "{url: 'rediss+sentinel://redis.example/s?ssl_cert_reqs=none'}",
        "store.url",
        "switches the check",
    ),
    ("cors", "{origins: ['*']}", "cors.origins", "every page"),
    ("cors", "{origin_patterns: ['.*']}", "cors.origin_patterns[0]", "fits every origin"),
    ("limits", "{rates: []}", "limits", "there are no limits"),
    ("limits", "", "limits", "there are no limits"),
    (
        "limits",
        "{rates: [{name: a, rate: 1/second, regex: '(?backtracking)/(a+)+(?!b)'}]}",
        "limits.rates[0].regex",
        "(a+)+",
    ),
    (
        "limits",
        "{rates: [{name: a, rate: 1/second, path: '/{a:(?backtracking)(b+)+(?!c)}'}]}",
        "limits.rates[0].path",
        "(a+)+",
    ),
    (
        "limits",
        "{rates: [{name: a, rate: 1/second, regex: '(?backtracking)/.*a.*b.*c(?!d)'}]}",
        "limits.rates[0].regex",
        "three repeats in a row",
    ),
    (
        "cors",
        "{origin_patterns: ['(?backtracking)https://(?!x).*[.]example']}",
        "cors.origin_patterns[0]",
        "Python's re matches it",
    ),
    (
        "authorization",
        "{rules: [{path: '/{a:(?backtracking)(?!x).*}', methods: [GET], roles: [member]}]}",
        "authorization.rules[0].path",
        "Python's re matches it",
    ),
    (
        "cache",
        "{routes: [{path: '/{a:(?backtracking)[0-9]+}', ttl: 1s}]}",
        "cache.routes[0].path",
        "RE2 can take it: remove (?backtracking)",
    ),
]

SAFE = [
    ("identity", keystone()),
    ("identity", keystone(url="http://127.0.0.1:5000/v3")),
    ("identity", keystone(url="http://localhost:5000/v3")),
    ("identity", keystone(", cache: {ttl: 10m}")),
    ("identity", keystone(", anonymous: [/, '/v2.1/{tenant_id}/images/**']")),
    ("admin", "{listen: 127.0.0.1:0, token: '${PASSWORD}'}"),
    ("admin", "{listen: 0.0.0.0:0, token: 5c9d0a8e41b7f2634d1e}"),
    ("server", "{listen: 127.0.0.1:0, trusted_proxies: [10.0.0.0/8, 'fd00::/8', 192.0.2.1]}"),
    ("store", "{url: 'redis://redis.example'}"),
    ("store", "{url: 'redis://:${PASSWORD}@127.0.0.1'}"),
    ("store", "{url: 'rediss://:${PASSWORD}@redis.example'}"),
    ("store", "{url: 'rediss+sentinel://:${PASSWORD}@redis.example,other.example/s'}"),
    ("cors", "{origins: ['https://horizon.example']}"),
    ("limits", "{rates: [{name: a, rate: 1/second, regex: '/v2/[^/]+/(servers|images)(?:/.*)?'}]}"),
    (
        "limits",
        "{rates: [{name: a, rate: 1/second, regex: '/(a+)+$'}, {name: b, rate: 1/day, path: '/{a:(b+)+c}'}]}",
    ),
    ("cors", "{origin_patterns: ['https://([a-z]+)*x']}"),
    ("limits", "{absolute: {concurrent: {max: 10}}}"),
]


@pytest.mark.parametrize(("section", "text", "key", "words"), DANGEROUS)
def test_a_danger_is_a_warning_at_its_key(
    tmp_path: Path, section: str, text: str, key: str, words: str
) -> None:
    found = [line for line in said(tmp_path, ROOMY, **{section: text}) if "other users can read" not in line]

    assert len(found) == 1, found
    assert f": {key}: warning: " in found[0]
    assert words in found[0]


@pytest.mark.parametrize(("section", "text"), SAFE)
def test_the_safe_form_is_no_warning(tmp_path: Path, section: str, text: str) -> None:
    assert said(tmp_path, ROOMY, **{section: text}) == []


@pytest.mark.parametrize(("section", "text", "key", "words"), DANGEROUS)
def test_a_warning_never_repeats_a_secret(
    tmp_path: Path, section: str, text: str, key: str, words: str
) -> None:
    assert "swordfish" not in "\n".join(said(tmp_path, ROOMY, **{section: text}))


def test_without_identity_there_is_a_warning(tmp_path: Path) -> None:
    limits = "{rates: [{name: a, per: [address], rate: 1/second}]}"

    assert said(tmp_path, identity="{provider: none}", limits=limits) == [
        "metaproxy.yaml:4: identity.provider: warning: none: no request needs a token"
    ]


def test_a_secret_field_that_goes_to_another_machine_over_http_is_a_warning(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        upstream="{targets: ['http://nova.example:8774']}",
        headers="{request: {set: [{name: X-Edge-Secret, value: '${PASSWORD}'}]}}",
    )

    assert found == [
        "metaproxy.yaml:6: headers.request.set[0].value: warning: is sent to http://nova.example:8774 "
        "in clear text: use https://"
    ]


def test_more_connections_than_descriptors_are_a_warning(tmp_path: Path) -> None:
    machine = Machine(descriptors=1024)

    assert said(tmp_path, machine, server="{listen: 127.0.0.1:0, max_connections: 900}") == [
        "metaproxy.yaml:1: server.max_connections: warning: 900 clients and 256 connections to "
        "upstream.targets are more than the 1024 file descriptors that the process may open (ulimit -Hn)"
    ]
    assert said(tmp_path, machine, server="{listen: 127.0.0.1:0, max_connections: 700}") == []


def test_too_few_descriptors_to_keep_any_in_reserve_are_an_error(tmp_path: Path) -> None:
    server = "{listen: 127.0.0.1:0, max_connections: 10}"

    assert said(tmp_path, Machine(descriptors=48), server=server) == [
        "metaproxy.yaml:1: server.max_connections: the process may open 48 file descriptors, and needs 64 at "
        "least: raise LimitNOFILE or ulimit -Hn"
    ]


def test_bounds_that_are_above_the_memory_are_a_warning(tmp_path: Path) -> None:
    cache = "{max_bytes: 1GiB, routes: [{path: /a}]}"

    assert said(tmp_path, Machine(memory=512 * 1024**2), cache=cache) == [
        "metaproxy.yaml:6: cache.max_bytes: warning: cache.max_bytes may take 1024MiB in 1 processes, "
        "more than the memory that there is, 512MiB"
    ]
    assert said(tmp_path, Machine(memory=2 * 1024**3), cache=cache) == []


def test_the_bounds_of_all_workers_are_added(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        Machine(memory=1024**3),
        server="{listen: 127.0.0.1:0, workers: 4}",
        store="{url: 'redis://127.0.0.1'}",
        cache="{max_bytes: 512MiB, routes: [{path: /a}]}",
    )

    assert [line.split(": ")[1] for line in found] == ["cache.max_bytes"]


def test_a_secret_in_a_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    from metaproxy.preflight import inspect
    from tests.unit.preflight.configured import ENVIRON, written

    file = written(
        tmp_path,
        identity="{provider: static, tokens: [{token: in-clear, user: {id: u}}, "
        "{token: '${PASSWORD}', user: {id: v}}]}",
    )
    safe = inspect(file, ENVIRON, machine=ROOMY)
    file.chmod(0o644)
    readable = inspect(file, ENVIRON, machine=ROOMY)

    assert safe.problems == ()
    assert [(problem.line, problem.key, problem.severity) for problem in readable.problems] == [
        (4, "identity.tokens[0].token", "warning")
    ]


def test_a_tokens_file_that_others_can_read_is_a_warning_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "tokens.yaml").write_text("- {token: in-clear, user: {id: u}}\n")
    (tmp_path / "tokens.yaml").chmod(0o640)

    assert said(tmp_path, identity="{provider: static, tokens_file: tokens.yaml}") == [
        "tokens.yaml:1: identity.tokens[0].token: warning: is a secret in a file that other users can read "
        "(mode 0640): chmod 600 tokens.yaml, or write ${NAME} or ${file:/path}"
    ]


UNIX_LISTENER = "{listen: ['unix:/tmp/metaproxy-test.sock', '127.0.0.1:0'], trusted_proxies: [%s]}"
BY_ADDRESS = (
    "{rates: [{name: a, rate: 1/second, per: [address]}], absolute: {concurrent: {per: address, max: 5}}}"
)


@pytest.mark.parametrize(
    ("trusted", "limits", "keys"),
    [
        ("10.0.0.0/8", BY_ADDRESS, ["limits.rates[0].per", "limits.absolute.concurrent.per"]),
        ("unix", BY_ADDRESS, []),
        ("", "{rates: [{name: a, rate: 1/second}]}", []),
    ],
)
def test_a_limit_by_address_behind_a_unix_socket_is_a_danger_unless_its_proxies_are_trusted(
    tmp_path: Path, trusted: str, limits: str, keys: list[str]
) -> None:
    found = said(tmp_path, ROOMY, server=UNIX_LISTENER % trusted, limits=limits)

    assert [key for key in keys if not any(f": {key}: warning: counts all" in line for line in found)] == []
    assert len([line for line in found if "counts all who connect" in line]) == len(keys)
