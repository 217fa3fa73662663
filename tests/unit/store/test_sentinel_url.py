from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from metaproxy.store.sentinel_url import Sentinel, is_sentinel_url, parse_sentinel_url


@pytest.mark.parametrize(
    ("url", "sentinels", "service", "server", "sentinel"),
    [
        ("redis+sentinel://a/s", [("a", 26379)], "s", "redis://h:1/0", "redis://a:26379/"),
        (
            "redis+sentinel://u:p@a:1,b,[::1]:5/s/3",
            [("a", 1), ("b", 26379), ("::1", 5)],
            "s",
            "redis://u:p@h:1/3",
            "redis://a:1/",
        ),
        (
            "rediss+sentinel://:p@[::1]/my-m.1?sentinel_username=x&sentinel_password=y%40z&ssl_ca_certs=/ca",
            [("::1", 26379)],
            "my-m.1",
            "rediss://:p@h:1/0?ssl_ca_certs=%2Fca",
            "rediss://x:y%40z@[::1]:26379/?ssl_ca_certs=%2Fca",
        ),
        (
            "redis+sentinel://a/s/0?sentinel_password=y&client_name=m",
            [("a", 26379)],
            "s",
            "redis://h:1/0?client_name=m",
            "redis://:y@a:26379/",
        ),
    ],
)
def test_a_url_has_sentinels_a_service_and_two_logins(
    url: str, sentinels: list[tuple[str, int]], service: str, server: str, sentinel: str
) -> None:
    parsed = parse_sentinel_url(url)

    assert is_sentinel_url(url)
    assert list(parsed.sentinels) == [Sentinel(*each) for each in sentinels]
    assert parsed.service == service
    assert parsed.of_server("h", 1) == server
    assert parsed.of_sentinel(parsed.sentinels[0]) == sentinel


@given(password=st.text(min_size=1), own=st.text(min_size=1), host=st.sampled_from(["h", "::2", "10.0.0.1"]))
def test_redis_py_reads_every_password_as_it_was_meant(password: str, own: str, host: str) -> None:
    written = quote(password, safe=""), quote(own, safe="")
    parsed = parse_sentinel_url(f"redis+sentinel://u:{written[0]}@a/s?sentinel_password={written[1]}")

    assert parse_url(parsed.of_server(host, 1))["password"] == password
    assert parse_url(parsed.of_server(host, 1))["host"] == host
    assert parse_url(parsed.of_sentinel(parsed.sentinels[0]))["password"] == own


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel:///s",
        "redis+sentinel://a,/s",
        "redis+sentinel://a:0/s",
        "redis+sentinel://a:70000/s",
        "redis+sentinel://a/s/x",
        "redis+sentinel://a/s/0/1",
        "redis+sentinel://u:swordfish#x@a/s",
        "redis+sentinel://u:sword/fish@a/s",
        "redis+sentinel://[::1/s",
    ],
)
def test_another_form_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^[^#]*$") as caught:
        parse_sentinel_url(url)
    assert "swordfish" not in str(caught.value)
