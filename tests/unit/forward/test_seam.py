import httpx
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.forward.seam import httpx_headers, send_through

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


async def test_any_transport_of_httpx_carries_a_request_and_its_answer() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(201, headers=[(b"X-Is", b"Here")], content=b"ok")

    head, body = await send_through(
        httpx.MockTransport(answer),
        httpx.URL("http://compute"),
        "GET",
        b"/a%2Fb",
        [(b"host", b"a"), (b"x", b"1")],
        httpx.ByteStream(b""),
        lambda _: None,
    )

    assert (head.status, head.headers[0], head.version) == (201, (b"x-is", b"Here"), "1.1")
    assert [chunk async for chunk in body] == [b"ok"]
    assert (asked[0].extensions["target"], asked[0].headers.raw) == (
        b"/a%2Fb",
        [(b"host", b"a"), (b"x", b"1")],
    )
