import httpx
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.forward.seam import httpx_headers

FIELDS = st.lists(
    st.tuples(
        st.text("abcXYZ-09", min_size=1, max_size=6).map(str.encode),
        st.binary(max_size=6),
    )
)


@given(FIELDS)
def test_fields_are_those_that_httpx_makes_itself(fields: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = httpx_headers(fields), httpx.Headers(fields)

    assert ours.raw == theirs.raw == fields
    assert ours == theirs
    assert [ours.get_list(name) for name in theirs] == [theirs.get_list(name) for name in theirs]


@given(FIELDS)
def test_a_request_and_a_response_keep_them_as_they_are(fields: list[tuple[bytes, bytes]]) -> None:
    request = httpx.Request("GET", "http://a", headers=httpx_headers(fields), stream=httpx.ByteStream(b""))

    assert request.headers.raw == fields
    assert httpx.Response(200, headers=httpx_headers(fields)).headers.raw == fields
