import gzip
import zlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.protocol.content_coding import MAX_MEMBERS, UnknownCoding, decoded

compress = partial(gzip.compress, mtime=0)
"""Without the time: the names of tests must be the same in each worker."""

TEXT = b'{"metadata": {"a": "b"}}'


def raw_deflate(text: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(text) + deflater.flush()


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (b"", TEXT),
        (b"identity", TEXT),
        (b" , identity ,", TEXT),
        (b"gzip", compress(TEXT)),
        (b"GZip", compress(TEXT)),
        (b"x-gzip", compress(TEXT)),
        (b"identity, gzip", compress(TEXT)),
        (b"gzip", compress(TEXT[:7]) + compress(b"") + compress(TEXT[7:])),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
    ],
)
def test_a_known_coding_is_taken_off(codings: bytes, body: bytes) -> None:
    assert decoded(body, codings, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (b"br", TEXT),
        (b"zstd", TEXT),
        (b"gzip, gzip", compress(compress(TEXT))),
        (b"gzip", TEXT),
        (b"gzip", compress(TEXT)[:-9]),
        (b"gzip", compress(TEXT) + b"more"),
        (b"gzip", zlib.compress(TEXT)),
        (b"deflate", compress(TEXT)),
        (b"gzip", b""),
    ],
)
def test_what_cannot_be_decoded_whole_is_refused(codings: bytes, body: bytes) -> None:
    with pytest.raises(UnknownCoding):
        decoded(body, codings, 10_000)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_a_small_body_that_grows_is_too_large(coding: bytes) -> None:
    grown = b" " * (64 << 20)
    body = compress(grown) if coding == b"gzip" else zlib.compress(grown)

    assert decoded(body, coding, len(grown) - 1) is None
    assert decoded(body, coding, 1000) is None


def test_members_are_added_up() -> None:
    assert decoded(compress(b"x" * 60) * 2, b"gzip", 100) is None


def test_a_body_of_many_small_members_is_refused() -> None:
    with pytest.raises(UnknownCoding):
        decoded(compress(b"") * (MAX_MEMBERS + 1), b"gzip", 100)


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]), st.integers(0, 400))
def test_a_body_comes_back_or_is_too_large(text: bytes, coding: bytes, max_bytes: int) -> None:
    body = compress(text) if coding == b"gzip" else zlib.compress(text)

    assert decoded(body, coding, max_bytes) == (text if len(text) <= max_bytes else None)


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, coding: bytes) -> None:
    try:
        text = decoded(body, coding, 1000)
    except UnknownCoding:
        return
    assert text is None or len(text) <= 1000
