from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from metaproxy.exchange import Exchange, Identity
from metaproxy.fast_lane.planner import UNREPEATED, Planner
from metaproxy.fast_lane.plans import MAX_SEEN, Plan, Plans
from metaproxy.filters.cache import MetadataCache
from metaproxy.filters.guard import Guard
from metaproxy.filters.trace import Trace
from metaproxy.forward.client import NO_BODY
from metaproxy.forward.engine.request import message
from metaproxy.protocol.faults import Fault
from tests.asgi_driver import make_scope

FAULT = Fault(401, "No.", reason="test")
PLAN = Plan(scope={}, exchange=Exchange("req-1", 0.0), known=None, looked_up=None)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_other_octets_have_another_key(one: bytes, other: bytes) -> None:
    plans = Plans[Plan]()

    assert (plans.key(one, "a", "http") == plans.key(other, "a", "http")) is (one == other)


def test_another_address_or_scheme_has_another_key() -> None:
    plans = Plans[Plan]()

    assert len({plans.key(b"x", *who) for who in (("a", "http"), ("b", "http"), ("a", "https"))}) == 3


def test_the_key_does_not_hold_the_octets() -> None:
    digest, _, _ = Plans().key(b"secret-token", "a", "http")

    assert len(digest) == 16
    assert b"secret" not in digest


def test_plans_are_bounded() -> None:
    plans = Plans[Plan](max_plans=10)

    for number in range(25):
        plans.put(plans.key(b"%d" % number, "a", "http"), PLAN)

    assert len(plans) <= 10


def test_what_was_seen_is_bounded() -> None:
    plans = Plans[Plan]()
    first = plans.key(b"first", "a", "http")

    assert plans.is_new(first)
    assert not plans.is_new(first)
    for number in range(MAX_SEEN):
        plans.is_new((b"%d" % number, "a", "http"))

    assert len(plans._seen) <= MAX_SEEN


def scope_of(**scope: Any) -> Scope:
    return make_scope("GET", "/", extra=scope)


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nobody is asked")


def planner_without_tokens() -> Planner:
    return Planner(Trace(nowhere), [Guard()], None, MetadataCache(nowhere, routes=[]))


def test_who_is_known_by_a_proxys_word_gets_no_plan() -> None:
    exchange = Exchange("req-1", 0.0, client_address="203.0.113.7")
    planner = planner_without_tokens()

    for _ in range(2):
        planner.plan(b"octets", exchange, scope_of(client=("192.0.2.1", 1)), None)

    assert len(planner.plans) == 0


def test_a_refusal_that_has_nothing_to_do_with_the_token_gets_no_plan() -> None:
    exchange = Exchange("req-1", 0.0, client_address="192.0.2.1", identity=Identity(), place=1)
    planner, scope = planner_without_tokens(), scope_of(client=("192.0.2.1", 1))

    for _ in range(2):
        planner.plan_refusal(b"octets", exchange, scope, FAULT, is_counted=False)

    assert len(planner.plans) == 0


@pytest.mark.parametrize("name", sorted(UNREPEATED))
def test_a_head_that_names_one_request_or_holds_another_secret_gets_no_plan(name: bytes) -> None:
    octets = b"GET /a HTTP/1.1\r\n" + name + b": x\r\n\r\n"
    exchange = Exchange("req-1", 0.0, client_address="192.0.2.1")
    scope = scope_of(client=("192.0.2.1", 1), headers=[(name, b"x")])
    sent = message("GET", b"/a", [(b"x-openstack-request-id", b"req-1")], NO_BODY)
    planner = planner_without_tokens()

    for _ in range(3):
        planner.plan(octets, exchange, scope, None)
        planner.plan_section(octets, exchange, scope, sent)

    assert len(planner.plans) == len(planner.sections) == 0


def test_a_plan_that_is_dropped_is_gone() -> None:
    plans = Plans[Plan]()
    key = plans.key(b"x", "a", "http")
    plans.put(key, PLAN)

    plans.drop(key)

    assert plans.get(key) is None
