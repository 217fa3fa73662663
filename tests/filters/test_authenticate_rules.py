"""Stage 3: access rules of application credentials, tokens that are too long, identity that is down."""

from dataclasses import replace
from typing import Any

import pytest

from metaproxy.exchange import Exchange, Identity
from metaproxy.filters.authenticate import MAX_TOKEN_BYTES, Authenticate
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.protocol.credential_rules import CredentialRule
from metaproxy.protocol.faults import Fault
from tests.asgi_driver import Answer, Headers, drive, make_scope
from tests.identities import ALICE, FakeIdentity

RULES = (CredentialRule("GET", "/v2.1/servers"), CredentialRule("GET", "/v2.1/servers/*"))
BOUND = replace(ALICE, access_rules=RULES)
NOVA = Identity(user_id="s1", user_name="nova", roles=("service",))
IDENTITIES = {
    b"alice": ALICE,
    b"bound": BOUND,
    b"nothing": replace(ALICE, access_rules=()),
    b"nova": NOVA,
    b"nova-bound": replace(NOVA, access_rules=RULES),
    b"eve": Identity(user_id="s2", user_name="eve", roles=("member",)),
}


class Room:
    """The stage in front of an upstream that keeps what it is told."""

    def __init__(self, **arguments: Any) -> None:
        self.identity = FakeIdentity(IDENTITIES)
        self.told: list[Headers] = []
        self.validator = CachedValidator(self.identity, headers=IdentityHeaders(), probe_interval=3600.0)
        self.stage = Authenticate(self.upstream, validator=self.validator, **arguments)

    async def upstream(self, scope: Any, _receive: Any, send: Any) -> None:
        self.told.append(list(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, token: str, method: str, path: str, service: str = "") -> Answer:
        headers = [("x-auth-token", token), *([("x-service-token", service)] if service else [])]
        try:
            return await drive(self.stage, method, path, headers=headers)
        finally:
            await self.validator.close()

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.told[-1] if field == name]


ASKED = [
    ("GET", "/v2.1/servers", 200),
    ("GET", "/v2.1/servers/1", 200),
    ("HEAD", "/v2.1/servers/1", 401),
    ("DELETE", "/v2.1/servers/1", 401),
    ("GET", "/v2.1/servers/1/action", 401),
    ("GET", "/v2/servers", 401),
    ("GET", "/v2.1/servers/%2e%2e/flavors", 401),
    ("GET", "/v2.1/images", 401),
]


async def test_each_request_is_judged_by_the_rules_of_its_token_first_and_remembered() -> None:
    room = Room()

    for _ in range(3):
        for method, path, status in ASKED:
            answer = await room.ask("bound", method, path)
            assert answer.status == status, (method, path)
            if status == 401:
                assert answer.exchange.reason == "access_rules"
                assert answer.header("www-authenticate") == "Keystone"
    assert room.identity.asked == {b"bound": 1}


async def test_a_refused_request_of_one_token_refuses_none_of_another() -> None:
    room = Room()

    assert (await room.ask("bound", "DELETE", "/v2.1/servers/1")).status == 401
    assert (await room.ask("alice", "DELETE", "/v2.1/servers/1")).status == 200
    assert (await room.ask("bound", "DELETE", "/v2.1/servers/1")).status == 401


async def test_an_empty_list_of_rules_allows_nothing() -> None:
    assert (await Room().ask("nothing", "GET", "/v2.1/servers")).status == 401


@pytest.mark.parametrize(
    ("service", "path", "status"),
    [
        ("nova", "/v2.1/images", 200),
        ("nova", "/v2.1/servers", 200),
        ("eve", "/v2.1/images", 401),  # valid, but not a service
        ("unknown", "/v2.1/images", 401),
        ("bound", "/v2.1/images", 401),
        ("nova-bound", "/v2.1/images", 401),  # a service whose own rules do not allow the request
        ("nova-bound", "/v2.1/servers", 200),
    ],
)
async def test_rules_of_a_user_are_not_asked_where_a_valid_service_token_is_there(
    service: str, path: str, status: int
) -> None:
    room = Room()

    assert [(await room.ask("bound", "GET", path, service)).status for _ in range(2)] == [status] * 2


async def test_delegating_passes_a_request_that_the_rules_do_not_allow_as_invalid() -> None:
    room = Room(on_missing="delegate")

    await room.ask("bound", "DELETE", "/v2.1/servers/1")

    assert room.values(b"x-identity-status") == [b"Invalid"]
    assert room.values(b"x-user-id") == []


async def test_what_is_prepared_for_a_header_section_holds_for_no_other_target() -> None:
    room = Room()
    await room.ask("bound", "GET", "/v2.1/servers")
    exchange = Exchange(request_id="r", started=0.0)
    scope = make_scope("GET", "/v2.1/servers", [("x-auth-token", "bound")])
    room.stage.decide(exchange, scope)

    verdict = room.stage.decide(exchange, make_scope("GET", "/v2.1/images", [("x-auth-token", "bound")]))

    assert room.stage.target_check(exchange, make_scope("GET", "/v2.1/servers/1")) is None
    assert isinstance(verdict, Fault)
    assert verdict.reason == "access_rules"


async def test_a_token_that_is_too_long_is_refused_unasked_with_its_own_reason() -> None:
    room = Room()

    answer = await room.ask("x" * (MAX_TOKEN_BYTES + 1), "GET", "/v2.1/servers")

    assert (answer.status, answer.exchange.reason) == (401, "token_too_long")
    assert not room.identity.asked


async def test_how_long_a_token_may_be_is_configured() -> None:
    room = Room(max_token_bytes=4)

    assert (await room.ask("bound", "GET", "/v2.1/servers")).exchange.reason == "token_too_long"
    assert (await room.ask("nova", "GET", "/v2.1/servers")).status == 200


@pytest.mark.parametrize("length", [4096, 4097, 8000, MAX_TOKEN_BYTES])
async def test_a_long_token_is_asked_about(length: int) -> None:
    room = Room()

    assert (await room.ask("x" * length, "GET", "/v2.1/servers")).exchange.reason == "token_unknown"
    assert room.identity.asked


async def test_delegating_always_passes_as_invalid_what_identity_could_not_judge() -> None:
    room = Room(on_missing="delegate-always")
    room.identity.trouble = IdentityUnavailable(Trouble.UNREACHABLE)

    answer = await room.ask("alice", "GET", "/v2.1/servers", service="nova")

    assert answer.status == 200
    assert answer.exchange.identity is None
    assert room.values(b"x-identity-status") == [b"Invalid"]
    assert room.values(b"x-service-identity-status") == [b"Invalid"]
    assert room.values(b"x-user-id") == []


async def test_delegating_always_believes_identity_again_once_it_answers() -> None:
    room = Room(on_missing="delegate-always")
    room.identity.trouble = IdentityUnavailable(Trouble.TIMEOUT)
    await room.ask("alice", "GET", "/v2.1/servers")

    room.identity.trouble = None
    await room.ask("alice", "GET", "/v2.1/servers")

    assert room.values(b"x-identity-status") == [b"Confirmed"]
