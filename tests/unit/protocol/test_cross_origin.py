"""Which origins may read answers: by name, by pattern, or all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.cross_origin import FIELDS, CorsSettings, CrossOriginPolicy, fits_everybody

HORIZON = b"https://horizon.example"
PATTERN = r"https://[a-z]+\.example"


def policy(**options: Any) -> CrossOriginPolicy:
    sound: dict[str, Any] = {
        "methods": ("GET", "PUT"),
        "request_headers": ("X-Auth-Token",),
        "response_headers": ("Age",),
        "max_age": 60.0,
    }
    return CrossOriginPolicy(CorsSettings(**sound | options))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (HORIZON, True),
        (b"https://shop.example", True),
        (b"http://horizon.example", False),
        (b"https://horizon.example:8443", False),
        (b"https://horizon.example.evil.invalid", False),
        (b"https://evil.invalid/https://horizon.example", False),
        (b"https://horizon.example\n", False),
        (b"https://HORIZON.example", False),
        (b"null", False),
        (b"", False),
        (b"*", False),
    ],
)
def test_an_origin_is_allowed_by_its_name_or_as_a_whole_by_a_pattern(origin: bytes, allowed: bool) -> None:
    one = policy(origins=["https://horizon.example"], origin_patterns=[PATTERN])

    assert one.allowed_origin(origin) == (origin if allowed else None)


def test_a_pattern_sees_nothing_that_no_browser_would_send() -> None:
    everything = policy(origin_patterns=[r"(?s).*"])

    for origin in (b"null", b"https://a\r\nb: c", b"https://a/b", b"https://" + b"a" * 300, b"\xff"):
        assert everything.allowed_origin(origin) is None
    assert everything.allowed_origin(b"https://[2001:db8::1]:8443") is not None


@given(st.binary(max_size=40))
def test_what_is_answered_to_any_origin_is_that_origin_or_nothing(origin: bytes) -> None:
    one = policy(origin_patterns=[PATTERN], credentials=True)

    assert one.allowed_origin(origin) in (None, origin)


def test_every_origin_is_a_star_that_varies_with_nothing() -> None:
    everybody = policy(origins=["*"])

    edits = everybody.answer_edits(b"null")

    assert edits.added == (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", b"Age"),
    )


@pytest.mark.parametrize("options", [{"origins": ["*"]}, {"origin_patterns": [".*"]}])
def test_credentials_are_never_for_every_origin(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="any page could act for its visitors"):
        policy(credentials=True, **options)


@pytest.mark.parametrize("origin", ["https://horizon.example/", "https://Horizon.example", "horizon", "null"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="an origin is scheme://host"):
        policy(origins=[origin])


@pytest.mark.parametrize(
    ("pattern", "everybody"),
    [(".*", True), ("https?://.+", True), (".+:8443", True), (PATTERN, False), ("null", False)],
)
def test_a_pattern_that_a_stranger_fits_fits_everybody(pattern: str, everybody: bool) -> None:
    assert fits_everybody(pattern) is everybody


def test_the_upstreams_own_fields_go_whoever_asks() -> None:
    one = policy(origins=["https://horizon.example"])

    for origin in (None, HORIZON, b"https://evil.invalid"):
        edits = one.answer_edits(origin)
        assert edits.removed == FIELDS
        assert (b"vary", b"Origin") in edits.added
        told = [name for name, _ in edits.added if name in FIELDS]
        assert bool(told) is (origin == HORIZON)


def test_a_preflight_tells_methods_fields_and_for_how_long() -> None:
    one = policy(origins=["https://horizon.example"], credentials=True)

    assert one.preflight(HORIZON) == (
        (b"access-control-allow-origin", HORIZON),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", b"GET, PUT"),
        (b"access-control-allow-headers", b"X-Auth-Token"),
        (b"access-control-max-age", b"60"),
    )
    assert one.preflight(b"https://evil.invalid") is None
