"""Identities share what they have in common, and its memory counts once."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.exchange import Assignment, Identity
from metaproxy.identity.keystone_v2_token import Envelope as EnvelopeV2
from metaproxy.identity.keystone_v2_token import identity_of as identity_of_v2
from metaproxy.identity.keystone_v3_token import Envelope, identity_of
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.identity.sharing import Sharing
from metaproxy.identity.token_cache import TokenCache, TokenCacheSettings
from metaproxy.protocol.credential_rules import CredentialRule
from metaproxy.protocol.limits.consumers import consumer
from metaproxy.protocol.limits.rates import RateRule
from metaproxy.protocol.limits.table import CompiledRule
from metaproxy.settings.units import Rate
from metaproxy.store.counters import Charge
from metaproxy.store.memory import MemoryCounters

TOKENS = 4000
KIB = 1024
MIB = 1024 * KIB
ROLES: list[dict[str, str]] = [{"id": str(number), "name": f"role-{number}"} for number in range(20)]
RULES = [{"service": "compute", "method": "GET", "path": f"/v2.1/*/servers/{number}"} for number in range(20)]
RULED = {"access_rules": RULES}


def v3(number: int, **more: object) -> Identity:
    """A user and a project that no other token has."""
    domain = {"id": "default", "name": "Default"}
    told = {
        "expires_at": f"2099-01-01T00:00:00.{number:06d}Z",
        "user": {"id": f"{number:08x}0f3c9a5be47d4c1fa6d2b8e1", "name": f"user-{number}", "domain": domain},
        "project": {"id": f"{number:08x}4d4c1fa6d2b8e17c905d347a", "name": f"p-{number}", "domain": domain},
        "roles": ROLES[:2],
        "audit_ids": [f"{number:08x}VcWR6mQ5OnTlxx"],
        **more,
    }
    document = msgspec.json.decode(msgspec.json.encode({"token": told}), type=Envelope)
    return identity_of(document.token, 4e9 + number, service_type="compute", catalog="catalog" in more)


def v2(number: int, *, own_roles: int = 0) -> Identity:
    told = {
        "token": {"expires": "2099-01-01T00:00:00.000Z", "tenant": {"id": str(number)}},
        "user": {
            "id": str(number),
            "name": f"user-{number}",
            "roles": ROLES + [{"name": f"own-{own}", "tenantId": str(number)} for own in range(own_roles)],
        },
    }
    return identity_of_v2(
        msgspec.json.decode(msgspec.json.encode({"access": told}), type=EnvelopeV2).access, [], 4e9 + number
    )


def catalog(number: int) -> list[object]:
    endpoint = {"interface": "public", "region": "r", "url": f"https://{number}.example/" + "x" * 200}
    return [{"type": "compute", "name": "nova", "endpoints": [endpoint] * 4}]


KINDS: dict[str, tuple[Callable[[int], Identity], int]] = {
    "tokens of Keystone v3": (v3, 1400),
    "application credentials with rules": (lambda number: v3(number, application_credential=RULED), 1400),
    "tokens of the Identity API v2.0 with many roles": (v2, 1400),
    "tokens that share a catalog": (lambda number: v3(number, catalog=catalog(0)), 1400),
    "tokens with a catalog each": (lambda number: v3(number, catalog=catalog(number)), 4 * KIB),
    "tokens with many roles of their own tenant": (lambda number: v2(number, own_roles=20), 2 * KIB),
}


def filled(cache: TokenCache, kind: str) -> int:
    """Keep tokens of ``kind``; return the memory that they take, as the interpreter counts it."""
    identity, _ = KINDS[kind]
    headers = IdentityHeaders(send_catalog=True)
    tracemalloc.start()
    try:
        for number in range(TOKENS):
            key = b"%016d" % number
            cache.keep(key, replace(headers.applied(identity(number)), token_digest=key), b"%032d" % number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_takes_no_more_memory_than_is_said_of(kind: str) -> None:
    _, most = KINDS[kind]
    cache = TokenCache(TokenCacheSettings(max_bytes=1024 * MIB))

    taken = filled(cache, kind)

    assert cache.counts()[0] == (("valid",), TOKENS)
    assert taken / TOKENS < most


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_in_bytes_holds_as_the_interpreter_counts(kind: str) -> None:
    cache = TokenCache(TokenCacheSettings(max_bytes=2 * MIB))

    taken = filled(cache, kind)

    (_, held), _ = cache.counts()
    assert 0 < held < TOKENS
    # Beside the bound there are only memos of a fixed size.
    assert taken < 2 * MIB + 4 * MIB


def test_a_counter_takes_less_than_half_of_what_a_token_takes() -> None:
    rate = RateRule(name="all", rate=Rate(1_000, "minute"), per=("project",))
    rule, counters = CompiledRule(rate, "gcra"), MemoryCounters()
    tracemalloc.start()
    try:
        for number in range(TOKENS):
            whose = consumer("project", f"{number:08x}4d4c1fa6d2b8e17c905d347a")
            counters.take([Charge(rule.key_for(()) + whose, whose, rule)])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    # With its token less than 2 KiB.
    assert taken / TOKENS < 700 + 64  # the counters that were used last stand in a second table


def test_equal_values_of_two_identities_are_one_object() -> None:
    sharing = Sharing()
    first, second = (sharing.take(v3(1, catalog=catalog(0))) for _ in range(2))

    for name in ("user_id", "project_id", "project_domain_name", "roles", "catalog"):
        assert getattr(first, name) is getattr(second, name)


def test_what_is_shared_counts_once_and_until_its_last_holder_has_gone() -> None:
    sharing = Sharing()
    first = sharing.take(v3(1, catalog=catalog(0)))
    alone = sharing.bytes
    second = sharing.take(v3(2, catalog=catalog(0)))
    assert sharing.bytes == alone

    sharing.release(first)
    assert sharing.bytes == alone
    sharing.release(second)

    assert (sharing.bytes, len(sharing)) == (0, 0)


def test_an_identity_says_the_same_when_its_values_are_shared() -> None:
    for identity in (v3(1, catalog=catalog(1)), v2(2, own_roles=3)):
        assert Sharing().take(identity) == identity


ROLE = st.builds(Assignment, st.sampled_from("abc"), st.sampled_from(["", "t1", "t2", "t3"]))


@given(st.lists(st.lists(ROLE, max_size=8).map(tuple), max_size=6), st.data())
def test_roles_of_tenants_say_the_same_when_their_names_are_shared(
    several: list[tuple[Assignment, ...]], data: st.DataObject
) -> None:
    sharing = Sharing()
    identities = [Identity(assignments=each, impersonator_assignments=each[:3]) for each in several]
    taken = [sharing.take(identity) for identity in identities]

    assert taken == identities
    for each, said in zip(taken, several, strict=True):
        assert tuple(each.assignments or ()) == said
        assert len(each.assignments or ()) == len(said)
        assert each.roles_in(("", "t1")) == Identity(assignments=said).roles_in(("", "t1"))
        assert hash(each.assignments) == hash(said)
    for each in data.draw(st.permutations(taken)):
        sharing.release(each)
    assert (sharing.bytes, len(sharing)) == (0, 0)


def test_a_role_in_each_of_many_tenants_takes_little_more_than_the_names_of_the_tenants() -> None:
    said = tuple(Assignment("member", f"{number:032x}") for number in range(1000))
    assigned = Sharing().take(Identity(assignments=said)).assignments

    assert assigned == said
    assert sys.getsizeof(assigned) < 1000 * (16 + sys.getsizeof("0" * 32)) + 200


def test_rules_and_roles_of_tenants_that_read_the_same_stay_what_they_are() -> None:
    sharing = Sharing()
    sharing.take(Identity(assignments=(Assignment("GET", "/x"),)))

    rules = sharing.take(Identity(access_rules=(CredentialRule("GET", "/x"),))).access_rules

    assert rules is not None
    assert rules[0].method == "GET"
