"""The moments up to which validations count no more."""

from metaproxy.exchange import Identity
from metaproxy.identity.revocation import MARGIN_SECONDS, Voids
from tests.identities import FakeClock

ALICE = Identity(user_id="u1", project_id="p1", tenant_ids=("p2",), user_domain_id="d1")


def test_a_validation_counts_from_shortly_after_the_revocation_on() -> None:
    clock = FakeClock()
    voids = Voids(monotonic=clock)
    voids.add(("user_id", "u1"))

    clock.now += 100

    assert voids.hold(ALICE, iter(()), age=100.0 - MARGIN_SECONDS)
    assert not voids.hold(ALICE, iter(()), age=99.9 - MARGIN_SECONDS)


def test_each_project_of_a_token_and_each_domain_void_it() -> None:
    for name in (("project_id", "p1"), ("project_id", "p2"), ("domain_id", "d1")):
        voids = Voids(monotonic=FakeClock())
        voids.add(name)

        assert voids.hold(ALICE, iter(()), age=0.0)


def test_a_token_is_voided_by_its_own_names() -> None:
    voids = Voids(monotonic=FakeClock())
    voids.add(("audit_id", "a1"))

    assert voids.hold(Identity(), iter([("audit_id", "a1")]), age=0.0)
    assert not voids.hold(Identity(), iter([("audit_id", "a2")]), age=0.0)


def test_an_older_report_of_a_revocation_does_not_take_back_a_newer_one() -> None:
    clock = FakeClock()
    voids = Voids(monotonic=clock)
    voids.add(("user_id", "u1"))
    voids.add(("user_id", "u1"), age=500.0)
    clock.now += 100

    assert voids.hold(ALICE, iter(()), age=100.0)


def test_the_moment_of_an_evicted_revocation_holds_for_everybody() -> None:
    clock = FakeClock()
    voids = Voids(max_entries=2, monotonic=clock)
    for number in range(3):
        voids.add(("user_id", f"other-{number}"))
        clock.now += 10

    assert voids.hold(ALICE, iter(()), age=30.0)
    assert not voids.hold(ALICE, iter(()), age=30.0 - 2 * MARGIN_SECONDS)
