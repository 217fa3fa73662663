"""No token, password or secret is told to anybody but identity: not in logs, metrics, faults or reprs."""

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from metaproxy.filters.authenticate import Authenticate
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.keystone_v2 import KeystoneV2, PasswordV2
from metaproxy.identity.keystone_v3 import ApplicationCredential, KeystoneV3, Password
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocations import Revocations
from metaproxy.identity.static import StaticToken, StaticTokens
from metaproxy.identity.validator import TokenValidator
from metaproxy.store.broadcast import LocalBroadcast
from metaproxy.telemetry.metrics import Metrics
from tests.asgi_driver import drive
from tests.identities import ALICE, NOW, FakeClock, described

USER_TOKEN = "user-token-7f3a"
SERVICE_TOKEN = "service-token-9c1d"
OWN_TOKEN = "own-token-2b8e"
PASSWORD = "password-5d6f"
SECRETS = (USER_TOKEN, SERVICE_TOKEN, OWN_TOKEN, PASSWORD)
IDENTITY_ROOM = Path(__file__).parents[3] / "metaproxy" / "identity"

Transport = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged at any level, tracebacks with their local variables' names only."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    yield stream
    structlog.reset_defaults()
    root.removeHandler(handler)
    root.setLevel(level)


def answering(status: int = 200, body: Any = None, *, login: int = 201) -> Transport:
    """An identity service of both versions that says ``status`` to validations."""
    token = {"id": OWN_TOKEN, "expires": "2027-01-15T09:00:00Z"}
    issued = {"token": {"expires_at": "2027-01-15T09:00:00Z"}, "access": {"token": token}}

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            status_of_login = 200 if login == 201 and "/v2.0/" in str(request.url) else login
            return httpx.Response(status_of_login, headers={"X-Subject-Token": OWN_TOKEN}, json=issued)
        return httpx.Response(status, json=body if body is not None else {"error": {"message": USER_TOKEN}})

    return handler


def broken(error: Exception) -> Transport:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


def providers(transport: Transport) -> list[TokenValidator]:
    clocks: dict[str, Any] = {"wall": FakeClock(NOW), "monotonic": FakeClock()}
    carrier = httpx.MockTransport(transport)
    return [
        KeystoneV3(carrier, "http://k.test", login=Password(user_id="m", password=PASSWORD), **clocks),
        KeystoneV3(carrier, "http://k.test", login=ApplicationCredential("c", PASSWORD), **clocks),
        KeystoneV2(carrier, "http://k.test", login=PasswordV2("m", PASSWORD), **clocks),
        KeystoneV2(carrier, "http://k.test", login=None, **clocks),
        StaticTokens([StaticToken(token=SERVICE_TOKEN, identity=ALICE)]),
    ]


TRANSPORTS: dict[str, Transport] = {
    "valid": answering(body=described()),
    "unknown": answering(404),
    "forbidden": answering(403),
    "login refused": answering(login=401),
    "service token dead": answering(401),
    "nonsense": answering(body={"token": {"expires_at": USER_TOKEN, "user": PASSWORD}}),
    "failed": answering(500),
    "unreachable": broken(httpx.ConnectError(f"no route for {USER_TOKEN}")),
    "slow": broken(httpx.ReadTimeout(f"no answer for {USER_TOKEN}")),
    "defect": broken(RuntimeError("a defect")),
}


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS.keys())
@pytest.mark.parametrize("provider", range(5), ids=["v3", "v3-credential", "v2", "v2-self", "static"])
async def test_no_secret_is_told(log: io.StringIO, transport: Transport, provider: int) -> None:
    metrics = Metrics()
    inner = providers(transport)[provider]
    validator = CachedValidator(inner, metrics=metrics, probe_interval=3600.0)
    stage = Authenticate(_upstream, validator=validator, advertise="http://k.test/v3")
    revocations = Revocations(validator, LocalBroadcast())
    await revocations.start()

    answer = await drive(
        stage, "GET", "/x", headers=[("x-auth-token", USER_TOKEN), ("x-service-token", SERVICE_TOKEN)]
    )
    await revocations.revoke(Revocation.of_token(USER_TOKEN))
    await validator.close()

    registry = CollectorRegistry()
    registry.register(metrics)
    told = {
        "log": log.getvalue(),
        "answer": repr((answer.headers, answer.body)),
        "metrics": generate_latest(registry).decode(),
        "exchange": repr(answer.exchange),
        "reprs": repr((validator, inner, validator.health, vars(inner))),
    }
    found = [(place, secret) for place, text in told.items() for secret in SECRETS if secret in text]
    assert found == []


def test_the_wire_below_does_not_log_heads(log: io.StringIO) -> None:
    providers(answering())

    logging.getLogger("httpcore.http11").debug("receive_response_headers %s", OWN_TOKEN)

    assert OWN_TOKEN not in log.getvalue()


def test_no_log_line_is_given_a_token_a_header_or_a_request() -> None:
    """Whatever is logged here is named in the call: none of these names may stand in one."""
    for source in IDENTITY_ROOM.glob("*.py"):
        for line in source.read_text().splitlines():
            if "logger." in line and "getLogger" not in line and "get_logger" not in line:
                call = line.partition("logger.")[2]
                arguments = call.partition('", ')[2]
                assert not any(name in arguments for name in ("token", "request", "header", "body", "secret"))


async def _upstream(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
