"""Status lines."""

import pytest

from metaproxy.protocol.status_lines import STATUS_LINE


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (100, b"HTTP/1.1 100 Continue\r\n"),
        (404, b"HTTP/1.1 404 Not Found\r\n"),
        (299, b"HTTP/1.1 299 \r\n"),
        (599, b"HTTP/1.1 599 \r\n"),
    ],
)
def test_a_status_without_a_registered_phrase_has_an_empty_one(status: int, line: bytes) -> None:
    assert STATUS_LINE[status] == line
