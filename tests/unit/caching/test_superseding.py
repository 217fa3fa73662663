"""RFC 9111 §4.3.3 and §4.3.5: answers that take a stored answer out of service."""

import pytest

from metaproxy.protocol.caching.superseding import contradicts, is_final

Fields = list[tuple[bytes, bytes]]

STORED: Fields = [(b"etag", b'"1"'), (b"last-modified", b"Mon, 02 Nov 2026 10:00:00 GMT")]


@pytest.mark.parametrize("status", [200, 204, 206, 301, 304, 400, 401, 403, 404, 410, 429, 451])
def test_every_answer_but_a_server_error_is_final(status: int) -> None:
    assert is_final(status)


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599])
def test_a_server_error_leaves_the_choice_to_the_cache(status: int) -> None:
    assert not is_final(status)


@pytest.mark.parametrize(
    ("status", "fields", "contradicted"),
    [
        pytest.param(200, [], False, id="nothing said"),
        pytest.param(200, [(b"etag", b'"1"')], False, id="the same tag"),
        pytest.param(200, [(b"etag", b'W/"1"')], False, id="the same tag, weak"),
        pytest.param(200, [(b"etag", b'"2"')], True, id="another tag"),
        pytest.param(200, [(b"last-modified", b"Mon, 02 Nov 2026 10:00:01 GMT")], True, id="a later date"),
        pytest.param(200, [(b"content-length", b"3")], False, id="the same length"),
        pytest.param(200, [(b"content-length", b"4")], True, id="another length"),
        pytest.param(200, [(b"content-length", b"0")], False, id="a length that was not found out"),
        pytest.param(
            200, [(b"content-length", b"2"), (b"content-encoding", b"gzip")], False, id="another coding"
        ),
        pytest.param(200, [(b"content-length", b"x")], False, id="not a length"),
        pytest.param(200, [(b"cache-control", b"no-store")], True, id="no-store"),
        pytest.param(200, [(b"cache-control", b"private")], True, id="private"),
        *(pytest.param(status, [], True, id=str(status)) for status in (301, 401, 403, 404, 410, 429)),
        *(pytest.param(status, [], False, id=str(status)) for status in (304, 405, 412, 416, 500, 503)),
    ],
)
def test_what_an_answer_to_head_says_of_the_stored_one(
    status: int, fields: Fields, contradicted: bool
) -> None:
    assert contradicts(status, fields, stored=STORED, stored_length=3, is_to_head=True) is contradicted


@pytest.mark.parametrize(
    ("content_range", "contradicted"),
    [(b"bytes 0-1/3", False), (b"bytes 0-1/4", True), (b"bytes 0-1/*", False), (b"lines 0-1/4", False)],
)
def test_what_a_part_says_of_the_stored_one(content_range: bytes, contradicted: bool) -> None:
    fields = [(b"content-length", b"2"), (b"content-range", content_range)]

    assert contradicts(206, fields, stored=STORED, stored_length=3, is_to_head=False) is contradicted
