"""RFC 9110 §8.8: which validators an answer has, and which fields are none."""

import pytest

from metaproxy.protocol.caching import validators

Fields = list[tuple[bytes, bytes]]

DATE = (b"last-modified", b"Mon, 02 Nov 2026 10:00:00 GMT")


@pytest.mark.parametrize("tag", [b'"1"', b'W/"1"', b'""', b'"a,b"', b"forgotten-quotes"])
def test_one_line_with_one_tag_is_a_validator(tag: bytes) -> None:
    fields = [(b"etag", tag), DATE]

    assert validators.entity_tag(fields) == tag
    assert validators.without_invalid(fields) == fields


@pytest.mark.parametrize(
    "lines",
    [
        [b'"1"', b'"2"'],
        [b'"1"', b'"1"'],
        [b'"1"', b'W/"1"'],
        [b'"1", "2"'],
        [b'W/"1","2"'],
        [b"1, 2"],
        [b'"1'],
        [b'w/"1"'],
        [b""],
    ],
)
def test_several_tags_or_half_a_tag_are_not_a_validator(lines: list[bytes]) -> None:
    fields = [*[(b"etag", line) for line in lines], DATE]

    assert validators.entity_tag(fields) is None
    assert validators.without_invalid(fields) == [DATE]


def test_two_dates_are_not_a_validator() -> None:
    fields: Fields = [DATE, (b"etag", b'"1"'), DATE]

    assert validators.last_modified(fields) is None
    assert validators.without_invalid(fields) == [(b"etag", b'"1"')]


def test_an_answer_without_validators_has_none() -> None:
    assert validators.entity_tag([]) is validators.last_modified([]) is None
    assert validators.without_invalid([(b"age", b"1")]) == [(b"age", b"1")]
