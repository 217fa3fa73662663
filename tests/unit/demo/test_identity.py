"""The demo's identity service answers what Keystone v3 answers."""

import json
from typing import Any

import pytest

from metaproxy.demo import world
from metaproxy.demo.identity import IdentityApi
from metaproxy.demo.service import Answer, Request
from metaproxy.demo.tokens import TokenTable
from metaproxy.demo.world import ADMIN, ALICE, BOB, EXPIRED_TOKEN, METAPROXY, PEOPLE, Person

TOKENS = "/v3/auth/tokens"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity(clock: Clock) -> IdentityApi:
    return IdentityApi(TokenTable(PEOPLE, wall=clock), compute_url="http://compute.example/v2.1")


def password_login(person: Person, password: str, scope: object = None) -> Request:
    user = {"name": person.name, "password": password, "domain": {"name": "Default"}}
    auth: dict[str, object] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if scope is not None:
        auth["scope"] = scope
    return Request("POST", TOKENS, body=json.dumps({"auth": auth}).encode())


def validation(asking: str, subject: str, query: str = "", method: str = "GET") -> Request:
    return Request(method, TOKENS, query, {"x-auth-token": asking, "x-subject-token": subject})


def subject_token(answer: Answer) -> str:
    return dict(answer.headers)["X-Subject-Token"]


def told(answer: Answer) -> Any:
    return json.loads(answer.body)["token"]


@pytest.fixture
def service_token(identity: IdentityApi) -> str:
    return subject_token(identity(password_login(METAPROXY, METAPROXY.password)))


def test_a_login_answers_a_token_that_tells_who_it_is_for(identity: IdentityApi) -> None:
    answer = identity(password_login(METAPROXY, METAPROXY.password, {"project": {"name": "service"}}))
    assert answer.status == 201
    assert len(subject_token(answer)) == 32
    assert told(answer)["user"]["name"] == "metaproxy"
    assert told(answer)["roles"][0]["name"] == "service"


def test_an_application_credential_logs_in(identity: IdentityApi) -> None:
    proof = {"id": world.APPLICATION_CREDENTIAL_ID, "secret": world.APPLICATION_CREDENTIAL_SECRET}
    identity_part = {"methods": ["application_credential"], "application_credential": proof}
    answer = identity(
        Request("POST", TOKENS, body=json.dumps({"auth": {"identity": identity_part}}).encode())
    )
    assert (answer.status, told(answer)["methods"]) == (201, ["application_credential"])


@pytest.mark.parametrize(
    "request_",
    [
        password_login(METAPROXY, "wrong"),
        password_login(METAPROXY, METAPROXY.password, {"project": {"name": "other"}}),
        password_login(Person("nobody", "", METAPROXY.project, (), ""), ""),
    ],
)
def test_a_bad_login_is_unauthorized(identity: IdentityApi, request_: Request) -> None:
    answer = identity(request_)
    assert answer.status == 401
    assert dict(answer.headers)["WWW-Authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"auth": {}}', b'{"auth": {"identity": {"methods": ["totp"]}}}']
)
def test_a_login_of_no_known_shape_is_a_bad_request(identity: IdentityApi, body: bytes) -> None:
    assert identity(Request("POST", TOKENS, body=body)).status == 400


@pytest.mark.parametrize("person", [ALICE, BOB, ADMIN])
def test_the_fixed_tokens_are_valid(identity: IdentityApi, service_token: str, person: Person) -> None:
    answer = identity(validation(service_token, person.token))
    assert answer.status == 200
    assert told(answer)["project"]["id"] == person.project.id
    assert [role["name"] for role in told(answer)["roles"]] == list(person.roles)


def test_a_validation_carries_the_catalog_unless_told_otherwise(
    identity: IdentityApi, service_token: str
) -> None:
    endpoints = told(identity(validation(service_token, ALICE.token)))["catalog"][0]["endpoints"]
    assert endpoints[0]["url"] == "http://compute.example/v2.1"
    assert "catalog" not in told(identity(validation(service_token, ALICE.token, "nocatalog")))


def test_an_unknown_token_is_not_found(identity: IdentityApi, service_token: str) -> None:
    assert identity(validation(service_token, "unknown")).status == 404


def test_an_expired_token_is_found_by_those_who_allow_it(identity: IdentityApi, service_token: str) -> None:
    assert identity(validation(service_token, EXPIRED_TOKEN)).status == 404
    assert identity(validation(service_token, EXPIRED_TOKEN, "allow_expired=1")).status == 200


def test_a_bad_service_token_is_unauthorized(identity: IdentityApi) -> None:
    assert identity(validation("unknown", ALICE.token)).status == 401


def test_a_service_token_runs_out(identity: IdentityApi, service_token: str, clock: Clock) -> None:
    clock.now += 3601
    assert identity(validation(service_token, ALICE.token)).status == 401


def test_a_member_may_ask_about_their_own_token_alone(identity: IdentityApi) -> None:
    assert identity(validation(ALICE.token, ALICE.token)).status == 200
    assert identity(validation(ALICE.token, BOB.token)).status == 403


def test_a_revoked_token_is_not_found(identity: IdentityApi, service_token: str) -> None:
    assert identity(validation(service_token, ALICE.token, method="DELETE")).status == 204
    assert identity(validation(service_token, ALICE.token)).status == 404


@pytest.mark.parametrize(("path", "status"), [("/", 300), ("/v3", 200), ("/v3/", 200), ("/v2.0", 404)])
def test_versions_are_told_to_everybody(identity: IdentityApi, path: str, status: int) -> None:
    assert identity(Request("GET", path)).status == status


def test_a_token_is_not_in_its_repr() -> None:
    assert ALICE.token not in repr(ALICE)
    assert ALICE.token not in repr(TokenTable(PEOPLE, wall=Clock()).find(ALICE.token))
