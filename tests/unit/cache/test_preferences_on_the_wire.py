"""Preferences of one meaning share a stored answer, over real sockets; others never do."""

import pytest

from tests.unit.cache.wire import PLAIN_ROUTE, Origin, response, wired
from tests.unit.forward.scripted import Peer

BOTH_WAYS = pytest.mark.parametrize("fast", [True, False], ids=["lane", "line"])


class Echoing(Origin):
    """Answers with the field that it varies on."""

    def __init__(self, name: str, *fields: str) -> None:
        super().__init__()
        self.name = name
        self.fields = fields

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            asked = head.partition(b"\r\n%b: " % self.name.lower().encode())[2].partition(b"\r\n")[0]
            await peer.send(response(asked, *self.fields))


@BOTH_WAYS
@pytest.mark.parametrize(
    ("name", "first", "same", "other"),
    [
        (
            "Accept-Language",
            "de, en;q=0.5",
            ["DE , en;q=0.50", "en;Q=0.5,de;q=1", "de,,en;q=0.5,de"],
            "en, de;q=0.5",
        ),
        ("Accept-Language", "en, de", ["eN,De"], "de, en"),
        ("Accept-Encoding", "gzip, br;q=0.5", ["br;q=0.5, GZIP"], "gzip;q=0, br;q=0.5"),
        ("Accept-Charset", "utf-8", ["UTF-8;q=1.0"], "utf-8;q=0"),
    ],
)
async def test_one_answer_for_one_meaning(
    name: str, first: str, same: list[str], other: str, fast: bool
) -> None:
    async with wired(Echoing(name, f"Vary: {name}"), PLAIN_ROUTE, fast=fast) as proxy:
        await proxy.ask("GET", f"{name}: {first}")
        for value in same * 2:
            answer = await proxy.ask("GET", f"{name}: {value}")
            assert (answer.body.decode(), "; hit" in answer.cache_status) == (first, True)
        for _ in range(2):
            assert (await proxy.ask("GET", f"{name}: {other}")).body.decode() == other
        assert (await proxy.ask()).body == b""
        assert (await proxy.ask("GET", f"{name}: {first}")).body.decode() == first


@BOTH_WAYS
@pytest.mark.parametrize(
    "accept",
    [
        "application/json;version=2",
        "application/json;q=0",
        "application/json;q=0, application/xml",
        "text/csv",
    ],
)
async def test_an_accept_that_may_be_answered_otherwise_is_not_answered_for_plain_json(
    accept: str, fast: bool
) -> None:
    async with wired(Echoing("Accept"), PLAIN_ROUTE, fast=fast) as proxy:
        await proxy.ask("GET", f"Accept: {accept}")
        plain = [(await proxy.ask("GET", "Accept: application/json")).body for _ in range(2)]
        again = await proxy.ask("GET", f"Accept: {accept.replace(', ', ' ,')}")

    assert plain == [b"application/json"] * 2
    assert (again.body.decode(), "; hit" in again.cache_status) == (accept, True)
