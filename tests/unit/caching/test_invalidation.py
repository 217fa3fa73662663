"""RFC 9111 §4.4: what a write invalidates."""

import pytest

from metaproxy.protocol.caching import invalidation


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_safe_method_is_no_write(method: str) -> None:
    assert not invalidation.is_write(method)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "PURGE", "get", "M-SEARCH"])
def test_any_other_method_is_taken_for_a_write(method: str) -> None:
    assert invalidation.is_write(method)


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        pytest.param(b"location", b"/b", [b"/b"], id="§4.4 Location"),
        pytest.param(b"content-location", b"/b", [b"/b"], id="§4.4 Content-Location"),
        pytest.param(b"location", b"/b?x=1", [b"/b?x=1"], id="§4.4 with a query"),
        pytest.param(b"location", b"b", [b"/images/b"], id="RFC 3986 §5.2 relative to the target"),
        pytest.param(b"location", b"http://api/b", [b"/b"], id="§4.4 the same origin"),
        pytest.param(b"location", b"http://API/b", [b"/b"], id="RFC 3986 §3.2.2 hosts have no case"),
        pytest.param(b"location", b"http://other/b", [], id="§4.4 another origin"),
        pytest.param(b"location", b"//other/b", [], id="§4.4 another origin, without a scheme"),
        pytest.param(b"location", b"http://api:81/b", [], id="§4.4 another port"),
        pytest.param(b"location", b"http://api:80/b", [b"/b"], id="RFC 9110 §4.2.3 the port of http"),
        pytest.param(b"location", b"https://api:443/b", [b"/b"], id="RFC 9110 §4.2.3 the port of https"),
        pytest.param(b"location", b"http://api:443/b", [], id="the port of another scheme"),
        pytest.param(b"location", b"http://api", [b"/"], id="RFC 9110 §4.2.3 an empty path"),
        pytest.param(b"location", b"http://[", [], id="no reference at all"),
        pytest.param(b"link", b"/b", [], id="§4.4 other fields name nothing"),
    ],
)
def test_what_else_an_answer_to_a_write_invalidates(field: bytes, value: bytes, found: list[bytes]) -> None:
    assert list(invalidation.also_invalidated(b"api", b"/images/a", [(field, value)])) == found


def test_a_host_with_the_port_of_the_scheme_is_the_host_without_it() -> None:
    answer = [(b"location", b"http://api/b")]

    assert list(invalidation.also_invalidated(b"api:80", b"/images/a", answer)) == [b"/b"]


def test_each_of_several_locations_is_invalidated() -> None:
    answer = [(b"location", b"/b"), (b"location", b"/c")]

    assert list(invalidation.also_invalidated(b"api", b"/images/a", answer)) == [b"/b", b"/c"]
