"""Who shares stored answers with whom: what makes a partition."""

import gc
from dataclasses import replace
from typing import Any

import pytest

from metaproxy.cache.partitions import Partitions
from metaproxy.exchange import Exchange, Identity
from metaproxy.protocol.credential_rules import CredentialRule

ALICE = Identity(user_id="alice", project_id="p1", roles=("member", "reader"), token_digest=b"t1")


def partition(scope: str, identity: Identity | None, service: Identity | None = None) -> bytes | None:
    exchange = Exchange("req-1", 0.0)
    exchange.identity, exchange.service_identity = identity, service
    return Partitions(scope).of(exchange)


@pytest.mark.parametrize(
    ("scope", "change", "same"),
    [
        pytest.param("project", {"user_id": "bob"}, True, id="project: another user"),
        pytest.param("project", {"roles": ("reader", "member")}, True, id="project: roles in another order"),
        pytest.param("project", {"roles": ("member",)}, False, id="project: fewer roles"),
        pytest.param("project", {"project_id": "p2"}, False, id="project: another project"),
        pytest.param("project", {"system_scope": "all"}, False, id="project: system scope"),
        pytest.param("project", {"domain_id": "d1"}, False, id="project: domain scope"),
        pytest.param("project", {"is_admin_project": True}, False, id="project: the admin project"),
        pytest.param("project", {"groups": (("gold", 1.0),)}, False, id="project: a group"),
        pytest.param("project", {"access_rules": ()}, False, id="project: no request allowed"),
        pytest.param(
            "project", {"access_rules": (CredentialRule("GET", "/**"),)}, False, id="project: access rules"
        ),
        pytest.param("project", {"extra": {"contact_id": "7"}}, True, id="project: another contact"),
        pytest.param("project", {"extra": {"impersonator_id": "7"}}, False, id="project: somebody else acts"),
        pytest.param("project", {"extra": {"map_roles": "7"}}, False, id="project: roles of tenants"),
        pytest.param("user", {"user_id": "bob"}, False, id="user: another user"),
        pytest.param("user", {"token_digest": b"t2"}, True, id="user: another token"),
        pytest.param("token", {"token_digest": b"t2"}, False, id="token: another token"),
    ],
)
def test_what_makes_a_partition(scope: str, change: dict[str, Any], same: bool) -> None:
    assert (partition(scope, ALICE) == partition(scope, replace(ALICE, **change))) is same


def test_users_who_act_in_no_project_share_nothing() -> None:
    nowhere = replace(ALICE, project_id="", domain_id="", system_scope="", roles=())

    assert partition("project", nowhere) != partition("project", replace(nowhere, user_id="bob"))
    assert partition("project", nowhere) == partition("project", replace(nowhere, token_digest=b"t2"))


def test_words_that_run_together_are_kept_apart() -> None:
    one = replace(ALICE, roles=("ab", "c"))
    other = replace(ALICE, roles=("a", "bc"))

    assert partition("project", one) != partition("project", other)


def test_a_role_is_no_group() -> None:
    role = replace(ALICE, roles=("member", "1.0 gold"))
    group = replace(ALICE, roles=("member",), groups=(("gold", 1.0),))

    assert partition("project", role) != partition("project", group)


def test_a_service_token_makes_another_partition() -> None:
    service = Identity(project_id="service", roles=("service",))

    assert partition("project", ALICE, service) not in (partition("project", ALICE), None)


@pytest.mark.parametrize("scope", ["project", "user", "token"])
def test_nobody_known_has_no_partition(scope: str) -> None:
    assert partition(scope, None) is None


def test_a_token_without_a_digest_has_no_partition_of_its_own() -> None:
    assert partition("token", replace(ALICE, token_digest=b"")) is None


def test_shared_answers_have_one_partition_for_all() -> None:
    assert partition("shared", None) == partition("shared", ALICE) == b""


def test_an_identity_that_is_gone_lends_its_partition_to_no_other() -> None:
    partitions, exchange = Partitions("project"), Exchange("req-1", 0.0)
    found = set()

    for number in range(50):
        exchange.identity = replace(ALICE, project_id=f"p{number}")
        found.add(partitions.of(exchange))
        exchange.identity = None
        gc.collect(0)

    assert len(found) == 50
