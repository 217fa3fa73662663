"""Looks before and after a measurement whether the server does what the measurement's name says."""

import http.client
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench.load import Counts
from tests.bench.machine import BenchError
from tests.bench.population import COUNTER, Request
from tests.bench.servers import Server, Stand
from tests.bench.upstream import ITEM

STRAYS = 0.001
"""The share of requests that may end otherwise: entries expire, limits give a request back now and then."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What every request of a case must get.

    ``cache`` is the parameter that Cache-Status must hold (``hit``, ``fwd``), "" where it does not matter.
    ``asks_upstream`` says whether each request goes on to the upstream; if not, none may, nor to identity.
    """

    status: int = 200
    body: bytes | None = ITEM
    cache: str = ""
    asks_upstream: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(server: Server, requests: Iterable[Request]) -> list[Answer]:
    """Send requests one after another over one connection; return their answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        return [_answer(connection, request) for request in requests]
    finally:
        connection.close()


def prime(server: Server, requests: Iterable[Request]) -> None:
    """Send each request once, so that tokens are known and answers are stored; BenchError if one fails."""
    for answer in send(server, requests):
        if answer.status >= 500:
            raise BenchError(f"{server.name} answered {answer.status} while it was prepared: {answer.body!r}")


def verify(server: Server, request: Request, expectation: Expectation) -> None:
    """Send one request; BenchError where its answer is not the expected one."""
    answer = send(server, [request])[0]
    if found := list(problems(answer, expectation)):
        raise BenchError(f"{server.name}, {request.method} {request.target}: {'; '.join(found)}")


def is_met(server: Server, request: Request, expectation: Expectation) -> bool:
    """Send one request, and say whether its answer is the expected one."""
    return not list(problems(send(server, [request])[0], expectation))


def problems(answer: Answer, expectation: Expectation) -> Iterable[str]:
    """Yield in words where ``answer`` is not what was expected."""
    if answer.status != expectation.status:
        yield f"status {answer.status} instead of {expectation.status} ({answer.body[:200]!r})"
    if expectation.body is not None and answer.body != expectation.body:
        yield f"body {answer.body[:100]!r} instead of {expectation.body!r}"
    cache_status = answer.headers.get("cache-status", "")
    if expectation.cache and f"; {expectation.cache}" not in cache_status:
        yield f"Cache-Status {cache_status!r} instead of one with {expectation.cache!r}"


def verify_counts(server: Server, counts: Counts, expectation: Expectation, asked: int) -> None:
    """Raise BenchError where a run was not what ``expectation`` says.

    ``asked`` is the number of requests that reached upstream and identity during the run.
    """
    wrong = counts.requests - counts.status_errors if expectation.status >= 400 else counts.status_errors
    strays = counts.requests * STRAYS if expectation.status >= 400 else 0
    if wrong > strays:
        raise BenchError(f"{server.name}: {wrong} of {counts.requests} answers were not {expectation.status}")
    if expectation.asks_upstream and asked < counts.requests:
        raise BenchError(f"{server.name}: {counts.requests} answers, but only {asked} came from the upstream")
    if not expectation.asks_upstream and asked > counts.requests * STRAYS:
        raise BenchError(f"{server.name}: {asked} of {counts.requests} requests went further, none should")


def requests_behind(stand: Stand) -> int:
    """Return how many requests have reached the upstream, and identity to validate a token, so far."""
    counted: dict[str, int] = json.loads(send(stand.keystone, [Request("/_demo/requests", "")])[0].body)[
        "requests"
    ]
    validations = sum(count for target, count in counted.items() if target.startswith("GET /v3/auth/tokens"))
    return int(send(stand.upstream, [Request("/requests", "")])[0].body) + validations


def _answer(connection: http.client.HTTPConnection, request: Request) -> Answer:
    target = request.target.replace(COUNTER, f"probe-{next(_numbers)}")
    connection.request(request.method, target, headers=request.all_headers)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())
