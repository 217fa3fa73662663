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
        request={
            "remove": ["Cookie"],
            "set": [{"name": "X-Region", "value": "ord"}],
            "add": [{"name": "Accept", "value": "text/plain"}],
        },
    )
    sent = [("Cookie", "a=b"), ("X-Region", "made-up"), ("Accept", "*/*")]

    await drive(stage, "GET", "/", headers=sent)

    assert upstream.headers == [(b"accept", b"*/*"), (b"x-region", b"ord"), (b"accept", b"text/plain")]


EDITED = {"remove": ["Server"], "set": [{"name": "Strict-Transport-Security", "value": "max-age=9"}]}


async def test_the_client_gets_an_edited_answer() -> None:
    response = {**EDITED, "add": [{"name": "Link", "value": "<b>"}]}

    answer = await drive(EditHeaders(Upstream(), response=response), "GET", "/")

    assert answer.headers == [
        (b"link", b"<a>"),
        (b"strict-transport-security", b"max-age=9"),
        (b"link", b"<b>"),
    ]


async def test_refusals_are_edited_too() -> None:
    stage = EditHeaders(Upstream(Fault(403, "No.", reason="r")), response=EDITED)

    answer = await drive(stage, "GET", "/")

    assert (answer.status, answer.header("strict-transport-security")) == (403, "max-age=9")


@pytest.mark.parametrize(
    "options",
    [
        {"request": {"set": [{"name": "X-User-Id", "value": "admin"}]}},
        {"request": {"add": [{"name": "X-Roles", "value": "admin"}]}},
        {"request": {"remove": ["X-Identity-Status"]}},
        {"response": {"add": [{"name": "Access-Control-Allow-Origin", "value": "*"}]}},
        {"response": {"set": [{"name": "X-A", "value": "a\r\nSet-Cookie: b"}]}},
        {"response": {"removed": ["X-A"]}},
    ],
)
def test_what_must_not_be_edited_stops_the_start(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"edited|cors|ASCII|removed"):
        EditHeaders(Upstream(), None, **options)
