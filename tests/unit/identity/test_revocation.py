"""What is revoked, as data."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from metaproxy.exchange import Identity
from metaproxy.identity.digests import fingerprint
from metaproxy.identity.revocation import (
    Revocation,
    RevocationError,
    RevocationMemory,
    RevokedTokens,
)
from tests.identities import FakeClock

TOKEN = fingerprint(b"alice")
ALICE = Identity(
    user_id="u1",
    project_id="p1",
    tenant_ids=("p1", "p2"),
    user_domain_id="d1",
    project_domain_id="d2",
    audit_ids=("own", "login"),
)


@pytest.mark.parametrize(
    ("revocation", "matches"),
    [
        (Revocation.of_token("alice"), True),
        (Revocation.of_token("bob"), False),
        (Revocation(audit_id="own"), True),
        (Revocation(audit_id="login"), False),
        (Revocation(audit_chain_id="login"), True),
        (Revocation(audit_chain_id="other"), False),
        (Revocation(user_id="u1"), True),
        (Revocation(user_id="u2"), False),
        (Revocation(project_id="p2"), True),
        (Revocation(project_id="p3"), False),
        (Revocation(domain_id="d1"), True),
        (Revocation(domain_id="d2"), True),
        (Revocation(domain_id="d3"), False),
        (Revocation(user_id="u1", project_id="p1"), True),
        (Revocation(user_id="u1", project_id="p3"), False),
    ],
)
def test_a_revocation_speaks_of_tokens_that_have_all_its_attributes(
    revocation: Revocation, matches: bool
) -> None:
    assert revocation.matches(ALICE, TOKEN) is matches


def test_a_token_that_descends_from_a_revoked_one_is_not_that_one() -> None:
    revoked = RevokedTokens()
    revoked.add(Revocation(audit_id="login"))

    assert not revoked.hold(ALICE, TOKEN)
    assert revoked.hold(replace(ALICE, audit_ids=("login",)), b"")


def test_revoked_tokens_are_remembered_for_a_day_and_bounded() -> None:
    clock = FakeClock()
    revoked = RevokedTokens(max_entries=2, monotonic=clock)
    for token in ("a", "b", "alice"):
        revoked.add(Revocation.of_token(token))

    assert len(revoked) == 2
    assert revoked.hold(ALICE, TOKEN)

    clock.now += 86_400
    assert not revoked.hold(ALICE, TOKEN)


def test_what_identity_says_pushes_out_nothing_that_an_operator_revoked() -> None:
    memory = RevocationMemory(max_entries=3)
    memory.add(Revocation.of_token("alice"))

    for number in range(10):
        memory.add_of_identity(Revocation(audit_id=f"of somebody {number}"))

    assert memory.hold(ALICE, TOKEN)


def test_more_revocations_than_are_remembered_are_said_once() -> None:
    memory = RevocationMemory(max_entries=2)

    with capture_logs() as logs:
        for number in range(5):
            memory.add(Revocation(audit_id=str(number)))

    assert [line["event"] for line in logs] == ["too many revocations: the oldest is forgotten"]


def test_what_was_revoked_can_be_told_again_for_a_day() -> None:
    clock = FakeClock()
    memory = RevocationMemory(monotonic=clock)
    revocation = Revocation(user_id="u1")
    memory.add(revocation, age=100)

    clock.now += 50
    assert memory.made() == {revocation.payload(): 150}
    clock.now += 86_400
    assert memory.made() == {}


def test_a_users_revocation_condemns_no_token_by_name() -> None:
    revoked = RevokedTokens()

    revoked.add(Revocation(user_id="u1"))

    assert len(revoked) == 0


@pytest.mark.parametrize("make", [Revocation, lambda: Revocation.of_token("")])
def test_a_revocation_of_nothing_is_an_error(make: type[Revocation]) -> None:
    with pytest.raises(RevocationError):
        make()


@given(fields=st.fixed_dictionaries({}, optional={name: st.text(min_size=1) for name in (
    "fingerprint", "audit_id", "audit_chain_id", "user_id", "project_id", "domain_id"
)}).filter(bool))  # fmt: skip
def test_a_revocation_survives_its_journey(fields: dict[str, str]) -> None:
    revocation = Revocation(**fields)

    assert Revocation.from_payload(revocation.payload()) == revocation


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"user_id": 1}', b'{"unknown": "x"}', b"\xff"])
def test_what_is_no_revocation_is_an_error(payload: bytes) -> None:
    with pytest.raises(RevocationError):
        Revocation.from_payload(payload)


def test_a_tokens_revocation_does_not_hold_the_token() -> None:
    revocation = Revocation.of_token("alice")

    assert b"alice" not in revocation.payload()
    assert "alice" not in repr(revocation)
