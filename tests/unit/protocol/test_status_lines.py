import pytest

from metaproxy.protocol.status_lines import STATUS_LINE


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (304, b"HTTP/1.1 304 Not Modified\r\n"),
        (599, b"HTTP/1.1 599 \r\n"),
        (999, b"HTTP/1.1 999 \r\n"),
    ],
)
def test_a_status_line_has_the_registered_phrase_or_none(status: int, line: bytes) -> None:
    assert STATUS_LINE[status] == line
