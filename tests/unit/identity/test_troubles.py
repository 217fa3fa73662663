"""What identity says wrong, and what we say then: every row of the table, over a whole request."""

import ssl
from collections.abc import Callable
from itertools import cycle
from typing import Any

import httpx
import pytest
import respx

from metaproxy.filters.authenticate import Authenticate
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.troubles import (
    ANSWERS,
    RETRY_AFTER,
    IdentityUnavailable,
    Trouble,
    retry_after,
    translated,
    trouble_of,
)
from tests.asgi_driver import Answer, drive
from tests.identities import AN_HOUR_AGO, KEYSTONE, NOW, FakeClock, described, issued, keystone, router

VALIDATION = f"{KEYSTONE}/auth/tokens"
KEYSTONE_404 = httpx.Response(404, json={"error": {"code": 404, "title": "Not Found"}})

Prepare = Callable[[respx.MockRouter], object]


async def never_called(*_: object) -> None:
    raise AssertionError("the upstream was reached")


def ssl_error(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("TLS") from ssl.SSLCertVerificationError("self-signed certificate")


def saying(*responses: Any) -> Prepare:
    """Let Keystone answer validations so, again and again where it fails."""
    return lambda routes: routes.get(VALIDATION).mock(side_effect=cycle(responses))


def login_saying(response: Any) -> Prepare:
    return lambda routes: routes.post(url__startswith=VALIDATION).mock(side_effect=[response])


def described_without(field: str) -> httpx.Response:
    return httpx.Response(200, json=described(**{field: None}))


async def ask(prepare: Prepare) -> Answer:
    routes = router()
    prepare(routes)
    validator = CachedValidator(
        keystone(routes), monotonic=FakeClock(), wall=FakeClock(NOW), probe_interval=3600.0
    )
    try:
        return await drive(
            Authenticate(never_called, validator=validator, advertise=KEYSTONE),
            "GET",
            "/v2.1/p1/images/i/metadata/k",
            headers=[("X-Auth-Token", "a-token")],
        )
    finally:
        await validator.close()


@pytest.mark.parametrize(
    ("prepare", "status", "reason"),
    [
        pytest.param(saying(KEYSTONE_404), 401, "token_unknown", id="404 for the token"),
        pytest.param(saying(httpx.Response(404)), 401, "token_unknown", id="404 without a body"),
        pytest.param(
            saying(httpx.Response(400, json={"error": {}})), 401, "token_unknown", id="400 for the token"
        ),
        pytest.param(saying(httpx.Response(431, text="<html>")), 401, "token_unknown", id="431: too long"),
        pytest.param(saying(httpx.Response(414)), 401, "token_unknown", id="414: too long"),
        pytest.param(saying(httpx.Response(400, text="<html>")), 503, "identity_nonsense", id="400: a page"),
        pytest.param(
            saying(httpx.Response(200, json=described(expires_at=AN_HOUR_AGO))),
            401,
            "token_expired",
            id="200 but expired",
        ),
        pytest.param(
            saying(httpx.Response(401), httpx.Response(401)),
            503,
            "identity_login_refused",
            id="401 for a new service token",
        ),
        pytest.param(login_saying(httpx.Response(401)), 503, "identity_login_refused", id="login: 401"),
        pytest.param(login_saying(httpx.Response(403)), 503, "identity_login_refused", id="login: 403"),
        pytest.param(login_saying(httpx.Response(404)), 503, "identity_login_refused", id="login: 404"),
        pytest.param(login_saying(httpx.Response(400)), 503, "identity_login_refused", id="login: 400"),
        pytest.param(login_saying(httpx.Response(500)), 503, "identity_failed", id="login: 500"),
        pytest.param(
            login_saying(httpx.Response(200, text="<html>")), 503, "identity_nonsense", id="login: a page"
        ),
        pytest.param(
            login_saying(httpx.Response(201, json={"token": {"expires_at": "2028-01-01T00:00:00Z"}})),
            503,
            "identity_nonsense",
            id="login: no token",
        ),
        pytest.param(
            login_saying(issued(expires_at=AN_HOUR_AGO)), 503, "identity_nonsense", id="login: a dead token"
        ),
        pytest.param(saying(httpx.Response(403)), 503, "identity_forbidden", id="403"),
        pytest.param(saying(httpx.Response(413)), 503, "identity_overloaded", id="413"),
        pytest.param(saying(httpx.Response(429)), 503, "identity_overloaded", id="429"),
        pytest.param(saying(httpx.Response(500)), 503, "identity_failed", id="500"),
        pytest.param(saying(httpx.Response(503)), 503, "identity_failed", id="503"),
        pytest.param(saying(httpx.Response(504)), 504, "identity_timeout", id="504"),
        pytest.param(saying(httpx.ReadTimeout("slow")), 504, "identity_timeout", id="read timeout"),
        pytest.param(saying(httpx.ConnectTimeout("slow")), 504, "identity_timeout", id="connect timeout"),
        pytest.param(saying(httpx.PoolTimeout("full")), 503, "identity_busy", id="no free connection"),
        pytest.param(saying(httpx.ConnectError("refused")), 503, "identity_unreachable", id="refused"),
        pytest.param(saying(httpx.ReadError("reset")), 503, "identity_unreachable", id="reset"),
        pytest.param(saying(ssl_error), 503, "identity_unreachable", id="TLS error"),
        pytest.param(
            saying(httpx.RemoteProtocolError("what?")), 503, "identity_nonsense", id="no HTTP"
        ),
        pytest.param(saying(httpx.Response(301)), 503, "identity_nonsense", id="redirect"),
        pytest.param(saying(httpx.Response(204)), 503, "identity_nonsense", id="another status"),
        pytest.param(saying(httpx.Response(200, text="{")), 503, "identity_nonsense", id="broken JSON"),
        pytest.param(saying(httpx.Response(200, text="<html>")), 503, "identity_nonsense", id="a page"),
        pytest.param(saying(httpx.Response(200, json=[])), 503, "identity_nonsense", id="other JSON"),
        pytest.param(saying(described_without("user")), 503, "identity_nonsense", id="no user"),
        pytest.param(saying(described_without("expires_at")), 503, "identity_nonsense", id="no expiry"),
        pytest.param(
            saying(httpx.Response(200, json=described(expires_at="soon"))),
            503,
            "identity_nonsense",
            id="an expiry that is no time",
        ),
        pytest.param(
            saying(httpx.Response(200, json=described(user={"id": ""}))),
            503,
            "identity_nonsense",
            id="an empty user id",
        ),
        pytest.param(
            saying(httpx.Response(200, json=described(roles="admin"))),
            503,
            "identity_nonsense",
            id="roles that are no list",
        ),
        pytest.param(
            saying(httpx.Response(200, content=b" " * (5 * 1024 * 1024))),
            503,
            "identity_nonsense",
            id="an answer without end",
        ),
        pytest.param(
            saying(httpx.Response(404, text="default backend - 404")),
            503,
            "identity_nonsense",
            id="404 of something in front of identity",
        ),
    ],
)  # fmt: skip
async def test_a_request_is_refused_when_identity_says(prepare: Prepare, status: int, reason: str) -> None:
    answer = await ask(prepare)

    assert (answer.status, answer.exchange.reason) == (status, reason)
    if status == 401:
        assert answer.header("www-authenticate") == f'Keystone uri="{KEYSTONE}"'
        assert answer.header("retry-after") is None
    else:
        assert answer.header("retry-after") == str(RETRY_AFTER)


@pytest.mark.parametrize("status", [413, 429, 503])
async def test_identitys_own_retry_after_is_passed_on(status: int) -> None:
    answer = await ask(saying(httpx.Response(status, headers={"Retry-After": "17"})))

    assert answer.header("retry-after") == "17"


@pytest.mark.parametrize(
    ("field_value", "seconds"),
    [
        (None, RETRY_AFTER),
        ("30", 30),
        ("0", 1),
        ("999999999999", 3600),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("soon", RETRY_AFTER),
        ("nan", RETRY_AFTER),
        ("-5", RETRY_AFTER),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(field_value: str | None, seconds: int) -> None:
    assert retry_after(field_value, FakeClock(NOW)) == seconds


def test_every_trouble_has_an_answer_that_tells_nothing_of_the_inside() -> None:
    assert ANSWERS.keys() == set(Trouble)
    assert {answer.status for answer in ANSWERS.values()} == {503, 504}
    assert len({answer.reason for answer in ANSWERS.values()}) == len(ANSWERS)


def test_every_status_that_is_no_verdict_is_some_trouble() -> None:
    assert {trouble_of(status) for status in range(100, 600)} == {
        Trouble.FORBIDDEN,
        Trouble.TIMEOUT,
        Trouble.OVERLOADED,
        Trouble.FAILED,
        Trouble.NONSENSE,
    }


def test_a_failure_that_is_a_cause_of_its_own_cause_is_translated() -> None:
    error = httpx.ConnectError("refused")
    error.__cause__ = RuntimeError("raised again")
    error.__cause__.__cause__ = error

    with pytest.raises(IdentityUnavailable) as raised, translated():
        raise error
    assert raised.value.detail == "ConnectError"
