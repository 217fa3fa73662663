"""RFC 9111 §3.3, §3.4: which parts may be kept, combined and completed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.caching import parts
from metaproxy.protocol.caching.ranges import Part

TAG = (b"etag", b'"1"')


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        pytest.param([(b"content-range", b"bytes 0-4/10")], Part(0, 4, 10), id="§14.4 a part"),
        pytest.param([(b"content-range", b"Bytes 5-9/10")], Part(5, 9, 10), id="§14.1 units have no case"),
        pytest.param([(b"content-range", b"bytes 0-4/*")], None, id="§14.4 of an unknown length"),
        pytest.param([(b"content-range", b"bytes */10")], None, id="§14.4 no part"),
        pytest.param([(b"content-range", b"bytes 4-2/10")], None, id="§14.4 backwards"),
        pytest.param([(b"content-range", b"bytes 5-10/10")], None, id="§14.4 past the end"),
        pytest.param([(b"content-range", b"items 0-4/10")], None, id="§14.4 another unit"),
        pytest.param([(b"content-range", b"bytes 0-4/10")] * 2, None, id="§5.3 twice"),
        pytest.param([], None, id="§15.3.7.2 several parts"),
        pytest.param(
            [(b"content-range", b"bytes 4-9/10"), (b"content-length", b"5")], None, id="§8.6 another length"
        ),
    ],
)
def test_which_part_an_answer_is(fields: list[tuple[bytes, bytes]], part: Part | None) -> None:
    assert parts.part_of(fields) == part


@pytest.mark.parametrize(
    ("stored", "answer", "of_one"),
    [
        pytest.param([TAG], [TAG], True, id="§15.3.7.3 one strong tag"),
        pytest.param([TAG], [(b"etag", b'"2"')], False, id="§15.3.7.3 another tag"),
        pytest.param([(b"etag", b'W/"1"')], [(b"etag", b'W/"1"')], False, id="§8.8.3.2 weak tags"),
        pytest.param([TAG], [(b"etag", b'W/"1"')], False, id="§8.8.3.2 one weak tag"),
        pytest.param([], [], False, id="§15.3.7.3 no validator"),
        pytest.param([TAG], [TAG, (b"etag", b'"2"')], False, id="two tags"),
        pytest.param([(b"etag", b"1")], [(b"etag", b"1")], False, id="§8.8.3 no tag"),
        pytest.param([TAG, (b"content-type", b"a/b")], [TAG], True, id="§15.3.7 left out"),
        pytest.param(
            [TAG, (b"content-type", b"a/b")], [TAG, (b"content-type", b"a/c")], False, id="another type"
        ),
        pytest.param([TAG], [TAG, (b"content-encoding", b"gzip")], False, id="another coding"),
    ],
)
def test_which_parts_are_of_one_representation(
    stored: list[tuple[bytes, bytes]], answer: list[tuple[bytes, bytes]], of_one: bool
) -> None:
    assert parts.combine(stored, answer) is of_one


def test_the_newer_fields_replace_the_stored_ones_and_the_others_stay() -> None:
    stored = [(b"a", b"1"), (b"b", b"1"), (b"b", b"2")]
    answer = [(b"b", b"3"), (b"content-range", b"bytes 0-4/10"), (b"content-length", b"5"), (b"c", b"4")]

    assert parts.of_the_whole(answer, stored) == [(b"b", b"3"), (b"c", b"4"), (b"a", b"1")]


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        pytest.param(Part(5, 9, 10), b"bytes=5-", id="to the end"),
        pytest.param(Part(0, 4, 10), b"bytes=0-4", id="not to the end"),
    ],
)
def test_how_the_origin_is_asked_for_what_is_missing(part: Part, asked: bytes) -> None:
    lines = [(b"host", b"api"), (b"range", b"bytes=1-2"), (b"if-none-match", b'"0"')]

    assert parts.request_for(part, b'"1"', lines) == [
        (b"host", b"api"),
        (b"range", asked),
        (b"if-range", b'"1"'),
    ]


WHOLE = bytes(range(40))
PARTS = st.lists(
    st.tuples(st.integers(0, 39), st.integers(0, 39)).map(lambda ends: Part(min(ends), max(ends), 40)),
    max_size=8,
)


@given(taken=PARTS, asked=PARTS)
def test_for_all_parts_what_is_cut_is_right_and_what_is_missing_is_asked_for(
    taken: list[Part], asked: list[Part]
) -> None:
    segments: parts.Segments = ()
    for part in taken:
        segments = parts.merged(segments, part.first, WHOLE[part.first : part.last + 1])
    held = {at for part in taken for at in range(part.first, part.last + 1)}

    places = [at for first, body in segments for at in range(first, first + len(body))]
    assert places == sorted(held)
    for part in asked:
        wanted = range(part.first, part.last + 1)
        body = parts.cut(segments, part)
        assert body == (WHOLE[part.first : part.last + 1] if held.issuperset(wanted) else None)
    gap = parts.missing(segments, 40)
    absent = sorted(set(range(40)) - held)
    assert (gap is None) is (not absent)
    if gap is not None:
        assert (gap.first, gap.last) == (absent[0], absent[-1])
