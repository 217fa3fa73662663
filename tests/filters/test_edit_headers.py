"""Header fields that an operator wants otherwise, towards the upstream and the client."""

import pytest
from starlette.types import Receive, Scope, Send

from metaproxy.filters.edit_headers import EditHeaders
from metaproxy.protocol.faults import Fault
from tests.asgi_driver import drive


class Upstream:
    """Keeps the headers that reached it."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        if self._fault:
            raise self._fault
        fields = [(b"server", b"nova"), (b"link", b"<a>")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"x"})


async def test_the_upstream_gets_an_edited_request() -> None:
    upstream = Upstream()
    stage = EditHeaders(
        upstream,
        remove_from_request=["Cookie"],
        set_in_request={"X-Region": "ord"},
        add_to_request={"Accept": "text/plain"},
    )
    sent = [("Cookie", "a=b"), ("X-Region", "made-up"), ("Accept", "*/*")]

    await drive(stage, "GET", "/", headers=sent)

    assert upstream.headers == [(b"accept", b"*/*"), (b"x-region", b"ord"), (b"accept", b"text/plain")]


EDITED = {"remove_from_response": ["Server"], "set_in_response": {"Strict-Transport-Security": "max-age=9"}}


async def test_the_client_gets_an_edited_answer() -> None:
    answer = await drive(EditHeaders(Upstream(), **EDITED, add_to_response={"Link": "<b>"}), "GET", "/")  # type: ignore[arg-type] # options

    assert answer.headers == [
        (b"link", b"<a>"),
        (b"strict-transport-security", b"max-age=9"),
        (b"link", b"<b>"),
    ]


async def test_refusals_are_edited_too() -> None:
    stage = EditHeaders(Upstream(Fault(403, "No.", reason="r")), **EDITED)  # type: ignore[arg-type] # options

    answer = await drive(stage, "GET", "/")

    assert (answer.status, answer.header("strict-transport-security")) == (403, "max-age=9")


@pytest.mark.parametrize(
    "options",
    [
        {"set_in_request": {"X-User-Id": "admin"}},
        {"add_to_request": {"X-Roles": "admin"}},
        {"remove_from_request": ["X-Identity-Status"]},
        {"add_to_response": {"Access-Control-Allow-Origin": "*"}},
        {"set_in_response": {"X-A": "a\r\nSet-Cookie: b"}},
    ],
)
def test_what_must_not_be_edited_stops_the_start(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"edited|cors|ASCII"):
        EditHeaders(Upstream(), **options)  # type: ignore[arg-type] # options of one test each
