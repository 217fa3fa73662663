"""What is valid and hardly meant so: a warning with the key, and silence about the form beside it."""

from pathlib import Path

import pytest

from metaproxy.preflight import Machine
from tests.unit.preflight.configured import said

LOGIN = "login: {user_id: u, username: u, password: '${PASSWORD}'}"
LIMIT = "{name: a, rate: 1/second"


def keystone(url: str, version: int = 3, more: str = "") -> str:
    user = "user_id" if version == 3 else "username"
    login = f"login: {{{user}: u, password: '${{PASSWORD}}'}}"
    return f"{{provider: keystone-v{version}, url: {url}, {login}{more}}}"


def static(expires: str) -> str:
    return f"{{provider: static, tokens: [{{token: '${{TOKEN}}', user: {{id: u}}, expires: {expires}}}]}}"


def rates(rule: str, more: str = "") -> str:
    return f"{{rates: [{LIMIT}, {rule}}}]{more}}}"


OPEN = "{listen: 0.0.0.0:0}"
TLS = "{certificate: c, key: k}"
BY_ADDRESS = rates("per: [address]")

OVERSIGHTS = [
    ("identity", keystone("https://k/v2.0"), "identity.url", "end it with /v3, or set provider: keystone-v2"),
    ("identity", keystone("https://k/identity/v2"), "identity.url", "end it with /v3"),
    (
        "identity",
        keystone("https://k/v3/", version=2),
        "identity.url",
        "end it with /v2.0, or set provider: keystone-v3",
    ),
    ("identity", keystone("[https://k/v3, https://k]"), "identity.url[1]", "url[0] again"),
    ("identity", keystone("https://k/v3/auth/tokens"), "identity.url", "end it with the version, /v3"),
    ("identity", keystone("[https://k/v3, https://l/v2.0]"), "identity.url[1]", "of another version"),
    ("identity", keystone("[https://k/v3, https://K:443/v3/]"), "identity.url[1]", "url[0] again"),
    ("upstream", "{targets: [http://a:80, http://b, http://A]}", "upstream.targets[2]", "is targets[0] in"),
    ("upstream", "{targets: ['unix:/a/b', 'unix:/a//b']}", "upstream.targets[1]", "is targets[0] in"),
    ("identity", static("1970-01-01T00:00:00Z"), "identity.tokens[0].expires", "expired on 1970-01-01"),
    ("limits", rates("regex: ''"), "limits.rates[0].regex", "is for every path"),
    ("limits", rates("regex: '/(.*)'"), "limits.rates[0].regex", "set capture_groups: false"),
    ("limits", rates("regex: '(.*)'"), "limits.rates[0].regex", "set capture_groups: false"),
    ("cors", "{origins: ['http://a'], origin_patterns: ['']}", "cors.origin_patterns[0]", "fits no origin"),
]


@pytest.mark.parametrize(("section", "text", "key", "why"), OVERSIGHTS)
def test_an_oversight_is_a_warning_at_its_key(
    tmp_path: Path, section: str, text: str, key: str, why: str
) -> None:
    [found] = said(tmp_path, **{section: text})  # type: ignore[arg-type]

    assert f": {key}: warning: " in found
    assert why in found


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("identity", keystone("https://k/v3")),
        ("identity", keystone("https://k/identity/v3/")),
        ("identity", keystone("https://k:5000")),
        ("identity", keystone("https://gateway/keystone")),
        ("identity", keystone("https://k/v2.0", version=2)),
        ("identity", keystone("[https://k/v3, https://k:5000/v3, http://localhost/v3]")),
        ("upstream", "{targets: [http://a, https://a, http://a:8774, 'unix:/a', 'unix:/b']}"),
        ("identity", static("2999-01-01T00:00:00Z")),
        ("limits", rates("regex: '.*'")),
        ("limits", rates("regex: '/(.*)', capture_groups: false")),
        ("limits", rates("regex: '(/v2.1)?.*'")),
        ("limits", rates(r"regex: '/v2\.1/[^/]+/(.*)'")),
    ],
)
def test_the_form_beside_it_is_not(tmp_path: Path, section: str, text: str) -> None:
    assert said(tmp_path, **{section: text}) == []  # type: ignore[arg-type]


def test_a_token_that_has_expired_by_the_clock_of_the_machine_is_a_warning(tmp_path: Path) -> None:
    later = Machine(binds_any_port=True, time=lambda: 4_000_000_000.0)

    [found] = said(tmp_path, later, identity=static("2036-01-01T00:00:00Z"))

    assert "identity.tokens[0].expires: warning: expired on 2036-01-01 00:00 UTC" in found


@pytest.mark.parametrize(
    ("limits", "identity", "key"),
    [
        (BY_ADDRESS, keystone("https://k/v3"), "limits.rates[0].per"),
        (rates("per: [address], before: identity"), keystone("https://k/v3"), "limits.rates[0].per"),
        (
            rates("per: [user]", ", absolute: {concurrent: {per: address, max: 5}}"),
            keystone("https://k/v3"),
            "limits.absolute.concurrent.per",
        ),
        (rates("per: [user]"), keystone("https://k/v3", more=", guesses: {at_once: 5}"), "identity.guesses"),
    ],
)
def test_a_limit_by_address_where_nothing_is_said_of_proxies_is_a_warning(
    tmp_path: Path, limits: str, identity: str, key: str
) -> None:
    [found] = said(tmp_path, server=OPEN, limits=limits, identity=identity)

    assert f": {key}: warning: counts by address" in found
    assert "trusted_proxies: [] if clients connect directly" in found


@pytest.mark.parametrize(
    "server",
    [
        "{listen: 127.0.0.1:0}",
        "{listen: 0.0.0.0:0, trusted_proxies: []}",
        "{listen: 0.0.0.0:0, trusted_proxies: [10.0.0.1]}",
    ],
)
def test_it_is_not_where_proxies_are_named_or_none_can_connect(tmp_path: Path, server: str) -> None:
    assert said(tmp_path, server=server, limits=BY_ADDRESS) == []


def test_guesses_that_nobody_has_written_are_no_warning(tmp_path: Path) -> None:
    assert said(tmp_path, server=OPEN, identity=keystone("https://k/v3")) == []


def test_a_rate_before_identity_that_names_lead_past_is_an_error_at_before(tmp_path: Path) -> None:
    rule = "path: '/compute/v2.1/{tenant_id}/images/**', per: [tenant_id], before: identity"

    [found] = said(
        tmp_path, upstream="{targets: [http://127.0.0.1:1], strip_prefix: /compute}", limits=rates(rule)
    )

    assert "metaproxy.yaml:5: limits.rates[0].before: before identity the tenant of a path" in found


SHARED = "{scope: shared, routes: [{path: '/v2.1/{tenant_id}/images/{image_id}/metadata'}]}"


def test_a_cache_for_everybody_that_stores_nothing_of_who_has_a_token_is_a_warning(tmp_path: Path) -> None:
    [found] = said(tmp_path, cache=SHARED)

    assert ": cache.scope: warning: shared: answers for /v2.1/{tenant_id}/images/{image_id}/metadata" in found
    assert "stored only if the origin says public, s-maxage or must-revalidate" in found


@pytest.mark.parametrize(
    ("identity", "cache"),
    [
        (static("2999-01-01T00:00:00Z"), SHARED.replace("shared", "project")),
        (static("2999-01-01T00:00:00Z"), "{scope: shared}"),
        (static("2999-01-01T00:00:00Z"), "{scope: shared, routes: [{path: /v2.1}]}"),
        (
            static("2999-01-01T00:00:00Z")[:-1] + ", anonymous: ['/v2.1/{tenant_id}/images/**']}",
            SHARED,
        ),
        (
            static("2999-01-01T00:00:00Z")[:-1] + ", anonymous: ['/v2.1/{tenant_id}/images/**']}",
            SHARED.replace("{tenant_id}", "{tenant_id:[0-9a-f]{32}}"),
        ),
        (
            static("2999-01-01T00:00:00Z")[:-1] + ", anonymous: ['/{tenant_id:[0-9a-f]{32}}/open']}",
            "{scope: shared, routes: [{path: '/{tenant_id:[0-9a-f]{32}}/open'}]}",
        ),
    ],
)
def test_a_cache_for_everybody_is_none_where_requests_have_no_token(
    tmp_path: Path, identity: str, cache: str
) -> None:
    assert said(tmp_path, identity=identity, cache=cache) == []
