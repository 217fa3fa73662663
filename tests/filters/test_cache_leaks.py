"""The cache stage: for every tenant, role, token and header, an answer reaches only those it was made for."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.exchange import Identity
from tests.asgi_driver import Answer
from tests.filters.caching import COLLECTION, ITEM, JSON, Time, make_cache, request

ALICE = Identity(user_id="alice", project_id="p1", roles=("member",), token_digest=b"t1")

DIFFERENCES: list[dict[str, Any]] = [
    {"user_id": "bob"},
    {"user_domain_id": "d1"},
    {"project_id": ""},
    {"project_id": "p1,member"},
    {"project_id": "p2"},
    {"domain_id": "d1"},
    {"system_scope": "all"},
    {"is_admin_project": True},
    {"roles": ()},
    {"roles": ("member", "reader")},
    {"roles": ("member,reader",)},
    {"groups": (("reader", 1.0),)},
    {"groups": (("member", 1.0),)},
    {"extra": {"impersonator_id": "carol"}},
    {"token_digest": b"t2"},
    {"token_digest": b""},
]

# Identities that are alike but for little: two that share an entry should, two that must not are near.
identities = st.lists(st.sampled_from(DIFFERENCES), max_size=2).map(
    lambda differences: replace(
        ALICE, **{name: value for each in differences for name, value in each.items()}
    )
)

headers = st.lists(
    st.sampled_from(
        [
            ("accept", "application/xml"),
            ("accept", "text/html"),
            ("openstack-api-version", "compute 2.1"),
            ("openstack-api-version", "compute 2.39"),
            ("x-auth-token", "secret"),
            ("authorization", "Basic secret"),
            ("x-forwarded-host", "evil"),
            ("x-http-method-override", "DELETE"),
            ("x-project-id", "p2"),
            ("range", "bytes=0-3"),
            ("if-none-match", "*"),
            ("cache-control", "max-stale"),
            ("cookie", "a=b"),
        ]
    ),
    max_size=3,
    unique_by=lambda header: header[0],
)

requests = st.lists(
    st.tuples(
        st.sampled_from(["GET", "GET", "HEAD"]),
        st.sampled_from([ITEM, ITEM, COLLECTION]),
        identities | st.none(),
        st.just([]) | headers,
    ),
    min_size=8,
    max_size=24,
)


def may_decide_by(scope: str, identity: Identity | None) -> tuple[object, ...]:
    """All that an origin may look at when it decides, as far as answers of ``scope`` may depend on it."""
    if identity is None:
        return ("nobody",)
    rank = (
        identity.project_id,
        identity.domain_id,
        identity.system_scope,
        identity.is_admin_project,
        frozenset(identity.roles),
        frozenset(identity.groups),
        identity.extra.get("impersonator_id"),
    )
    if scope == "project":
        return rank
    user = (*rank, identity.user_id, identity.user_domain_id)
    return user if scope == "user" else (*user, identity.token_digest)


class Telling:
    """An origin that tells each client for whom its answer was made."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.made_for: dict[bytes, tuple[Identity | None, str, dict[bytes, bytes]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        serial = b"%d" % len(self.made_for)
        self.made_for[serial] = self.identity, scope["path"], dict(scope["headers"])
        fields = [JSON, (b"x-serial", serial), (b"vary", b"openstack-api-version")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": serial})


@pytest.mark.parametrize("scope", ["project", "user", "token"])
@settings(max_examples=100, deadline=None)
@given(script=requests)
def test_an_answer_stored_for_one_partition_is_never_served_to_another(scope: str, script: list[Any]) -> None:
    async def run() -> None:
        origin = Telling()
        cache = make_cache(origin, Time(), scope=scope)
        for method, path, identity, fields in script:
            origin.identity = identity
            answer = await request(cache, path, *fields, method=method, identity=identity)
            check(scope, origin, answer, path, identity, fields)

    asyncio.run(run())


def check(
    scope: str, origin: Telling, answer: Answer, path: str, identity: Identity | None, fields: list[Any]
) -> None:
    """AssertionError where the answer was made for somebody, or something, else."""
    serial = answer.header("x-serial")
    assert serial is not None
    made_for, made_at, made_with = origin.made_for[serial.encode()]
    asked = {name.encode(): value.encode() for name, value in fields}
    assert may_decide_by(scope, made_for) == may_decide_by(scope, identity)
    assert made_at == path
    for name in (b"openstack-api-version", b"accept", b"x-forwarded-host", b"x-http-method-override"):
        assert made_with.get(name) == asked.get(name)


async def test_the_token_is_in_no_key() -> None:
    cache = make_cache(Telling(), Time())

    await request(cache, ITEM, ("x-auth-token", "secret"))

    assert "secret" not in repr(list(cache._store._slots))
