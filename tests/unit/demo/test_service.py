"""What every demo service can do: count, be slow, fail."""

import json

import pytest

from metaproxy.demo.service import Answer, Behaviour, Request, Service
from tests.asgi_driver import drive


def echo(request: Request) -> Answer:
    return Answer(
        200,
        f"{request.path}?{request.query} {request.body.decode()}",
        headers=(("X-Two", "1"), ("X-Two", "2")),
    )


async def test_an_answer_has_its_length_and_keeps_duplicate_headers() -> None:
    answer = await drive(Service(echo), "POST", "/a%20b?c=d", body=[b"he", b"llo"])
    assert (answer.status, answer.body) == (200, b"/a b?c=d hello")
    assert answer.header("content-length") == "14"
    assert answer.all("x-two") == ["1", "2"]


async def test_an_answer_without_content_has_no_type_and_no_length() -> None:
    answer = await drive(Service(lambda request: Answer(204)), "DELETE", "/")
    assert (answer.header("content-type"), answer.header("content-length")) == (None, None)


async def test_requests_are_counted_until_told_to_begin_again() -> None:
    service = Service(echo)
    for path in ("/a", "/a", "/b?c"):
        await drive(service, "GET", path)
    counted = await drive(service, "GET", "/_demo/requests")
    assert json.loads(counted.body) == {"total": 3, "requests": {"GET /a": 2, "GET /b?c": 1}}
    await drive(service, "DELETE", "/_demo/requests")
    assert json.loads((await drive(service, "GET", "/_demo/requests")).body)["total"] == 0


async def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaproxy.demo.service.MAX_COUNTED_TARGETS", 1)
    service = Service(echo)
    for path in ("/a", "/b", "/c", "/a"):
        await drive(service, "GET", path)
    counted = await drive(service, "GET", "/_demo/requests")
    assert json.loads(counted.body)["requests"] == {"GET /a": 2, "others": 2}


async def test_it_fails_as_often_as_it_is_told() -> None:
    service = Service(echo)
    told = await drive(service, "PUT", "/_demo/behaviour", body=[b'{"fail_status": 503, "requests": 2}'])
    assert told.status == 204
    assert [(await drive(service, "GET", "/")).status for _ in range(3)] == [503, 503, 200]


async def test_it_behaves_again_when_told() -> None:
    service = Service(echo)
    await drive(service, "PUT", "/_demo/behaviour", body=[b'{"fail_status": 500}'])
    await drive(service, "DELETE", "/_demo/behaviour")
    assert (await drive(service, "GET", "/")).status == 200


@pytest.mark.parametrize("body", [b"", b'{"unknown": 1}', b"[]"])
async def test_a_behaviour_of_unknown_words_is_refused(body: bytes) -> None:
    assert (await drive(Service(echo), "PUT", "/_demo/behaviour", body=[body])).status == 400


async def test_unknown_controls_are_not_found() -> None:
    assert (await drive(Service(echo), "GET", "/_demo/unknown")).status == 404


def test_a_behaviour_without_a_number_of_requests_holds() -> None:
    behaviour = Behaviour(delay_seconds=0.5)
    assert [behaviour.take() for _ in range(3)] == [(0.5, 0)] * 3
