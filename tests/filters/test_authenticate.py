"""Stage 3: who is asking."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from metaproxy.filters.authenticate import Authenticate
from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.troubles import IdentityUnavailable, Trouble
from metaproxy.protocol.faults import Fault
from metaproxy.protocol.identity_headers import RESERVED, TOKEN_FIELDS
from metaproxy.verdicts import PASS, Wait
from tests.asgi_driver import Answer, Headers, drive, make_scope
from tests.identities import ALICE, FakeIdentity

ITEM = "/v2.1/p1/images/i/metadata/label"
SERVICE = Identity(user_id="s1", user_name="nova", project_id="ps", roles=("service",))
STRANGER = Identity(user_id="s2", user_name="eve", project_id="pe", roles=("member",))
GATEWAY = bytes(byte if chr(byte).isalnum() else ord("_") for byte in range(256))


class Room:
    """The stage in front of an upstream that keeps what it is told."""

    def __init__(self, **arguments: Any) -> None:
        self.identity = FakeIdentity({b"alice": ALICE, b"nova": SERVICE, b"eve": STRANGER})
        self.told: list[Headers] = []
        headers = IdentityHeaders(("openstack", "repose"))
        self.validator = CachedValidator(self.identity, headers=headers, probe_interval=3600.0)
        self.stage = Authenticate(
            self.upstream, validator=self.validator, advertise="http://keystone.test/v3", **arguments
        )

    async def upstream(self, scope: Any, _receive: Any, send: Any) -> None:
        self.told.append(list(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def get(self, path: str = ITEM, **tokens: str) -> Answer:
        return await self.send([(name.replace("_", "-"), token) for name, token in tokens.items()], path)

    async def send(self, headers: Sequence[tuple[Any, Any]], path: str = ITEM) -> Answer:
        try:
            return await drive(self.stage, "GET", path, headers=headers)
        finally:
            await self.validator.close()

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.told[-1] if field == name]


async def test_a_valid_token_becomes_an_identity_and_headers_for_the_upstream() -> None:
    room = Room()

    answer = await room.get(X_Auth_Token="alice")

    assert answer.status == 200
    assert answer.exchange.identity is not None
    assert answer.exchange.identity.user_id == "u1"
    assert room.values(b"x-identity-status") == [b"Confirmed"]
    assert room.values(b"x-project-id") == [b"p1"]
    assert room.values(b"x-pp-user") == [b"alice"]
    assert room.values(b"x-auth-token") == [b"alice"]


async def test_the_old_name_of_the_token_is_read_too() -> None:
    room = Room()

    assert (await room.get(X_Storage_Token="alice")).status == 200
    assert room.values(b"x-user-id") == [b"u1"]


async def test_a_known_token_is_decided_without_awaiting() -> None:
    room = Room()
    await room.get(X_Auth_Token="alice")
    scope = make_scope("GET", ITEM, [("x-auth-token", "alice")])
    exchange = Exchange(request_id="r", started=0.0)

    assert room.stage.decide(exchange, scope) is PASS

    assert exchange.identity is not None
    assert room.identity.asked == {b"alice": 1}


async def test_an_unknown_token_is_not_decided_without_awaiting() -> None:
    scope = make_scope("GET", ITEM, [("x-auth-token", "alice")])
    exchange = Exchange(request_id="r", started=0.0)
    before = list(scope["headers"])

    assert isinstance(Room().stage.decide(exchange, scope), Wait)

    assert exchange.identity is None
    assert scope["headers"] == before


async def test_a_token_known_to_be_bad_is_refused_without_awaiting() -> None:
    room = Room()
    await room.get(X_Auth_Token="mallory")

    refusal = room.stage.decide(
        Exchange(request_id="r", started=0.0), make_scope("GET", ITEM, [("x-auth-token", "mallory")])
    )

    assert isinstance(refusal, Fault)
    assert (refusal.status, refusal.reason) == (401, "token_unknown")


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([], 401, "token_missing"),
        ([("x-auth-token", "")], 401, "token_missing"),
        ([("x_auth_token", "alice")], 401, "token_missing"),
        ([("x-auth-token", "mallory")], 401, "token_unknown"),
        ([("x-auth-token", "alice alice")], 401, "token_unknown"),
        ([("x-auth-token", b"ali\xe7e")], 401, "token_unknown"),
        ([("x-auth-token", "a" * 4097)], 401, "token_unknown"),
        ([("x-auth-token", "alice"), ("x-auth-token", "alice")], 400, "token_ambiguous"),
        ([("x-auth-token", "alice"), ("X-Auth-Token", "bob")], 400, "token_ambiguous"),
        ([("x-auth-token", "alice"), ("x-storage-token", "bob")], 400, "token_ambiguous"),
        ([("x-storage-token", "a"), ("x-storage-token", "a")], 400, "token_ambiguous"),
        (
            [("x-auth-token", "alice"), ("x-service-token", "nova"), ("x-service-token", "nova")],
            400,
            "token_ambiguous",
        ),
        ([("x-auth-token", "alice"), ("x-service-token", "mallory")], 401, "service_token_rejected"),
        ([("x-auth-token", "alice"), ("x-service-token", "eve")], 401, "service_token_rejected"),
        ([("x-service-token", "nova")], 401, "token_missing"),
    ],
)
async def test_a_request_is_refused_without_reaching_the_upstream(
    headers: Headers, status: int, reason: str
) -> None:
    room = Room()

    answer = await room.send(headers)

    assert (answer.status, answer.exchange.reason, room.told) == (status, reason, [])
    challenge = answer.header("www-authenticate")
    assert challenge == ('Keystone uri="http://keystone.test/v3"' if status == 401 else None)


async def test_the_same_token_under_both_names_is_one_token() -> None:
    assert (await Room().get(X_Auth_Token="alice", X_Storage_Token="alice")).status == 200


async def test_a_challenge_without_an_identity_service_names_the_scheme_alone() -> None:
    room = Room()
    room.stage = Authenticate(room.upstream, validator=room.validator)

    assert (await room.get()).header("www-authenticate") == "Keystone"


async def test_what_cannot_be_a_token_is_never_asked_about() -> None:
    room = Room()

    await room.get(X_Auth_Token="a b")

    assert not room.identity.asked


async def test_identitys_failing_is_told_with_retry_after() -> None:
    room = Room()
    room.identity.trouble = IdentityUnavailable(Trouble.OVERLOADED, retry_after=9)

    answer = await room.get(X_Auth_Token="alice")

    assert (answer.status, answer.exchange.reason) == (503, "identity_overloaded")
    assert answer.header("retry-after") == "9"
    assert room.told == []


async def test_what_was_waited_for_identity_is_noted() -> None:
    assert "identity" in (await Room().get(X_Auth_Token="alice")).exchange.waits


async def test_a_revoked_token_is_refused_with_its_reason() -> None:
    room = Room()
    room.validator.revoke(Revocation.of_token("alice"))

    answer = await room.get(X_Auth_Token="alice")

    assert (answer.status, answer.exchange.reason) == (401, "token_revoked")


async def test_a_valid_service_token_is_told_as_the_twins() -> None:
    room = Room()

    answer = await room.get(X_Auth_Token="alice", X_Service_Token="nova")

    assert answer.exchange.service_identity is not None
    assert answer.exchange.service_identity.user_id == "s1"
    assert room.values(b"x-user-id") == [b"u1"]
    assert room.values(b"x-service-user-id") == [b"s1"]
    assert room.values(b"x-service-roles") == [b"service"]
    assert room.values(b"x-service-identity-status") == [b"Confirmed"]


async def test_a_known_service_token_is_decided_without_awaiting() -> None:
    room = Room()
    headers = [("x-auth-token", "alice"), ("x-service-token", "nova")]
    await room.send(headers)

    exchange = Exchange(request_id="r", started=0.0)
    assert room.stage.decide(exchange, make_scope("GET", ITEM, headers)) is PASS


@pytest.mark.parametrize(
    ("accept_expired", "service_token", "status"),
    [(True, "nova", 200), (False, "nova", 401), (True, "eve", 401), (True, None, 401)],
)
async def test_an_expired_token_passes_only_with_a_service_that_may_carry_it(
    accept_expired: bool, service_token: str | None, status: int
) -> None:
    room = Room(accept_expired=accept_expired)
    room.identity.expired = (b"alice",)
    headers = [("x-auth-token", "alice")]
    if service_token:
        headers.append(("x-service-token", service_token))

    assert (await room.send(headers)).status == status
    assert (await room.send([("x-auth-token", "alice")])).status == 401


@pytest.mark.parametrize("headers", [[], [("x-auth-token", "mallory")]])
async def test_delegating_passes_a_request_without_a_valid_token_as_invalid(headers: Headers) -> None:
    room = Room(on_missing="delegate")

    answer = await room.send([*headers, ("x-user-id", "admin"), ("x-identity-status", "Confirmed")])

    assert answer.status == 200
    assert answer.exchange.identity is None
    assert room.values(b"x-identity-status") == [b"Invalid"]
    assert room.values(b"x-user-id") == []


async def test_delegating_tells_a_bad_service_token_apart_from_the_users() -> None:
    room = Room(on_missing="delegate")

    await room.get(X_Auth_Token="alice", X_Service_Token="mallory")

    assert room.values(b"x-identity-status") == [b"Confirmed"]
    assert room.values(b"x-service-identity-status") == [b"Invalid"]


async def test_delegating_never_passes_a_request_that_identity_could_not_judge() -> None:
    room = Room(on_missing="delegate")
    room.identity.trouble = IdentityUnavailable(Trouble.UNREACHABLE)

    assert (await room.get(X_Auth_Token="alice")).status == 503
    assert room.told == []


@pytest.mark.parametrize("path", ["/", "/v2.1/", "/v2.1", "/versions/7", "/versions/7/"])
async def test_an_anonymous_path_needs_no_token(path: str) -> None:
    room = Room(anonymous=["/", "/v2.1/", "/versions/{number}"])

    answer = await room.send([("x-auth-token", "mallory"), ("x-roles", "admin")], path)

    assert answer.status == 200
    assert room.values(b"x-identity-status") == [b"Invalid"]
    assert room.values(b"x-roles") == []
    assert not room.identity.asked


@pytest.mark.parametrize(
    "path",
    [
        "/v2.1/images",
        "//",
        "/v2.1//",
        "/v2%2e1/",
        "/public/../v2.1/images",
        "/public/%2e%2e/images",
        "/public/..",
        "/public/.",
        "/public/a%2Fb",
        "/public/a%5Cb",
        "/public//x",
    ],
)
async def test_every_other_path_needs_one_however_it_is_written(path: str) -> None:
    room = Room(anonymous=["/", "/v2.1/", "/public/**"])

    assert (await room.send([], path)).status == 401


def spelled(name: bytes, capitals: Sequence[bool], separators: Sequence[bytes]) -> bytes:
    letters = []
    for index, letter in enumerate(name):
        if letter == ord("-"):
            letters.append(separators[index % len(separators)])
        else:
            letter_bytes = bytes([letter])
            letters.append(letter_bytes.upper() if capitals[index % len(capitals)] else letter_bytes)
    return b"".join(letters)


names = st.builds(
    spelled,
    st.sampled_from(sorted(RESERVED | TOKEN_FIELDS)),
    st.lists(st.booleans(), min_size=1, max_size=8),
    st.lists(st.sampled_from([b"-", b"_", b".", b"~"]), min_size=1, max_size=4),
)


@settings(max_examples=100, deadline=None)
@given(
    forged=st.lists(st.tuples(names, st.just(b"forged")), max_size=8),
    others=st.lists(st.tuples(st.sampled_from([b"accept", b"x-custom"]), st.binary()), max_size=3),
    token=st.sampled_from([b"alice", None]),
    stripped_before=st.booleans(),
)
def test_no_header_that_a_client_can_send_reaches_the_upstream_as_an_identity_header(
    forged: Headers, others: Headers, token: bytes | None, stripped_before: bool
) -> None:
    async def run() -> None:
        from metaproxy.protocol.identity_headers import strip

        room = Room(on_missing="delegate", removes_forged=not stripped_before)
        sent = [*others, *forged, *([(b"x-auth-token", token)] if token else [])]
        exchange = Exchange(request_id="r", started=0.0)
        scope = make_scope("GET", ITEM) | {SCOPE_KEY: exchange}
        scope["headers"] = strip(sent) if stripped_before else sent
        await room.stage(scope, _nothing, _ignore)
        await room.validator.close()
        for told in room.told:
            assert_nothing_forged(told)

    asyncio.run(run())


def assert_nothing_forged(told: Headers) -> None:
    """What a CGI gateway would make of the headers holds no forged identity variable."""
    for name, value in told:
        if name not in TOKEN_FIELDS:
            reserved = {field.translate(GATEWAY).lower() for field in RESERVED | TOKEN_FIELDS}
            assert value != b"forged" or name.translate(GATEWAY).lower() not in reserved


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _ignore(_: Any) -> None: ...


async def test_many_clients_with_one_new_token_cost_one_validation() -> None:
    room = Room()
    room.identity.gate = asyncio.Event()
    waiting = [
        asyncio.ensure_future(drive(room.stage, "GET", ITEM, headers=[("x-auth-token", "alice")]))
        for _ in range(1000)
    ]
    await asyncio.sleep(0)

    room.identity.gate.set()
    answers = await asyncio.gather(*waiting)

    assert [answer.status for answer in answers] == [200] * 1000
    assert room.identity.asked == {b"alice": 1}


async def test_an_identity_without_a_project_is_passed_on() -> None:
    room = Room()
    room.identity.identities = {b"unscoped": replace(ALICE, project_id="", project_name="", roles=())}

    await room.get(X_Auth_Token="unscoped")

    assert room.values(b"x-project-id") == []
    assert room.values(b"x-user-id") == [b"u1"]
