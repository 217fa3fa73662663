"""Revocations that Keystone tells when it is asked."""

import asyncio
from typing import Any

import httpx
import pytest
import respx

from metaproxy.identity.cached import CachedValidator
from metaproxy.identity.revocation import Revocation
from metaproxy.identity.revocation_events import RevocationEventPolling
from metaproxy.identity.troubles import IdentityUnavailable
from metaproxy.identity.validator import Rejected
from tests.identities import KEYSTONE, NOW, FakeClock, described, keystone, router

EVENTS = f"{KEYSTONE}/OS-REVOKE/events"


class Room:
    """A cache that knows alice, and polling of her Keystone."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.routes = router()
        self.validation = self.routes.get(f"{KEYSTONE}/auth/tokens").respond(json=described())
        self.events: respx.Route = self.routes.get(EVENTS).mock(side_effect=list(answers))
        self.wall = FakeClock(NOW)
        self.keystone = keystone(self.routes, wall=self.wall)
        self.validator = CachedValidator(self.keystone, wall=self.wall, probe_interval=3600.0)
        self.polling = RevocationEventPolling(self.keystone, self.validator, interval=0.0, wall=self.wall)


def events(*found: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"events": list(found), "links": {}})


async def test_what_keystone_revoked_is_asked_about_anew() -> None:
    room = Room(events({"user_id": "u1", "issued_before": "2027-01-15T08:00:00.000000Z"}))
    await room.validator.resolve(b"alice")

    assert await room.polling.poll()

    assert room.validator.known(b"alice") is None
    await room.validator.resolve(b"alice")
    assert room.validation.call_count == 2


async def test_a_token_revoked_by_its_audit_id_is_rejected() -> None:
    room = Room(events({"audit_id": "audit-1"}))
    await room.validator.resolve(b"alice")

    await room.polling.poll()

    assert await room.validator.resolve(b"alice") == Rejected("token_revoked")


async def test_events_of_identity_push_out_nothing_that_an_operator_revoked() -> None:
    room = Room(events(*({"audit_id": f"of somebody {number}"} for number in range(10_001))))
    room.validator.revoke(Revocation(audit_id="audit-1"))

    await room.polling.poll()

    assert await room.validator.resolve(b"alice") == Rejected("token_revoked")


async def test_other_tokens_stay_known() -> None:
    room = Room(events({"user_id": "u2"}, {"audit_id": "other"}, {"project_id": "p2"}))
    await room.validator.resolve(b"alice")

    await room.polling.poll()

    assert room.validator.known(b"alice") is not None


async def test_an_event_that_names_nothing_we_hold_makes_every_token_be_asked_about() -> None:
    room = Room(events({"role_id": "r1", "issued_before": "2027-01-15T08:00:00.000000Z"}))
    await room.validator.resolve(b"alice")

    await room.polling.poll()

    assert room.validator.known(b"alice") is None


async def test_an_event_told_twice_counts_once() -> None:
    event = {"user_id": "u1", "issued_before": "2027-01-15T08:00:00.000000Z"}
    room = Room(events(event), events(event))
    await room.polling.poll()
    await room.validator.resolve(b"alice")

    await room.polling.poll()

    assert room.validator.known(b"alice") is not None


async def test_questions_overlap_and_start_where_the_last_good_answer_ended() -> None:
    room = Room(events(), httpx.Response(500), events())
    await room.polling.poll()

    room.wall.now += 600
    with pytest.raises(IdentityUnavailable):
        await room.polling.poll()
    room.wall.now += 600
    await room.polling.poll()

    since = [call.request.url.params["since"] for call in room.events.calls]
    assert since == ["2027-01-15T07:58:00Z"] * 3


async def test_polling_goes_on_through_failures_and_ends_where_it_is_not_offered() -> None:
    room = Room(httpx.Response(500), events({"user_id": "u1"}), httpx.Response(404))
    await room.validator.resolve(b"alice")

    await room.polling.start()
    while room.events.call_count < 3:
        await asyncio.sleep(0)
    await room.polling.close()

    assert room.validator.known(b"alice") is None
    assert room.events.call_count == 3
