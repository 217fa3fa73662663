"""Stage 4: may they."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metaproxy.exchange import SCOPE_KEY, Exchange, Identity
from metaproxy.filters.authorize import MEMO_ENTRIES, Authorize
from metaproxy.identity.rendering import IdentityHeaders
from metaproxy.protocol.access_rules import TENANT_EXEMPT_ROLES, AccessRule, Authorization
from metaproxy.protocol.compute_api import kind_of_path
from metaproxy.protocol.faults import Fault
from metaproxy.verdicts import PASS
from tests.asgi_driver import Answer, Headers, drive, make_scope
from tests.identities import ALICE

ITEM = "/v2.1/p1/images/i/metadata/label"
RACKER = replace(ALICE, project_id="123", tenant_ids=("123", "MossoCloudFS_9"))


async def upstream(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def request(
    method: str,
    path: str,
    identity: Identity | None = ALICE,
    headers: Headers | None = None,
    **arguments: Any,
) -> Answer:
    exchange = Exchange(request_id="r", started=0.0, identity=identity)
    stage = Authorize(upstream, **arguments)
    scope_extra = {SCOPE_KEY: exchange}
    try:
        return await drive(stage, method, path, headers=headers or [], scope_extra=scope_extra)
    except Fault as fault:
        exchange.reason = fault.reason
        return Answer(fault.status, list(fault.headers), scope=scope_extra)


async def status(method: str, path: str, identity: Identity | None = ALICE, **arguments: Any) -> int:
    return (await request(method, path, identity, **arguments)).status


@pytest.mark.parametrize(
    "path",
    [
        ITEM,
        "/v2/p1/images/i",
        "/v2.1/p1/servers/detail",
        "/v2.1/p1",
        "/v2.1/p1/",
        "/v2.1/images/i/metadata/label",
        "/v2.1/servers/detail",
        "/v2.1/os-keypairs",
        "/v2.1/limits.xml",
        "/images/i/metadata",
        "/v2.1/",
        "/v2.1",
        "/",
        "/other/p2/x",
    ],
)
async def test_a_path_of_the_tokens_own_tenant_or_of_none_passes(path: str) -> None:
    assert await status("GET", path) == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2.1/p2/images/i/metadata/label",
        "/v2/p2/images/i",
        "/v2.1/p2/servers",
        "/v2.1/p2",
        "/v2.1/p2/",
        "/v2.1/P1/images",
        "/v2.1/p1x/images",
        "/v2.1/images/images/detail",
        "/v2.1/unknown-collection",
    ],
)
async def test_a_path_of_another_tenant_is_forbidden(path: str) -> None:
    answer = await request("GET", path)

    assert (answer.status, answer.exchange.reason) == (403, "tenant_mismatch")


@given(tenant=st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1))
def test_no_other_tenant_passes(tenant: str) -> None:
    stage = Authorize(upstream)
    exchange = Exchange(request_id="r", started=0.0, identity=ALICE)
    scope = make_scope("GET", "/") | {"path": f"/v2.1/{tenant}/images/i/metadata/k"}

    verdict = stage.decide(exchange, scope)

    if tenant == "p1":
        assert verdict is PASS
    else:
        assert isinstance(verdict, Fault)
        assert verdict.reason == "tenant_mismatch"


async def test_a_token_without_a_project_has_no_tenant() -> None:
    unscoped = replace(ALICE, project_id="")

    assert await status("GET", ITEM, unscoped) == 403
    assert await status("GET", "/v2.1/images/i", unscoped) == 200


async def test_an_exempt_role_may_act_on_any_tenant() -> None:
    admin = replace(ALICE, project_id="pa", roles=("admin",))

    assert await status("GET", ITEM, admin, tenant_exempt_roles=["admin"]) == 200
    assert await status("GET", ITEM, admin, tenant_exempt_roles=[]) == 403


DOMAIN_ADMIN = replace(ALICE, project_id="", domain_id="d", roles=("admin",))


@pytest.mark.parametrize("is_default", [True, False])
@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (replace(ALICE, project_id="pa", roles=("admin",)), 200),
        (replace(ALICE, project_id="pa", roles=("admin",), is_admin_project=True), 200),
        (replace(ALICE, project_id="", system_scope="all", roles=("admin",)), 200),
        (replace(ALICE, project_id="", roles=("admin",), roles_are_global=True), 200),
        (replace(ALICE, project_id="pa", roles=("admin",), is_admin_project=False), 403),
        (replace(ALICE, project_id="", system_scope="all", roles=("admin",), is_admin_project=False), 403),
        (DOMAIN_ADMIN, 403),
        (replace(ALICE, project_id="", roles=("admin",)), 403),
        (replace(ALICE, project_id="pa", roles=("Admin", "member")), 403),
    ],
)
async def test_an_exempt_role_does_not_reach_beyond_the_scope_of_its_token(
    identity: Identity, expected: int, is_default: bool
) -> None:
    arguments = {} if is_default else {"tenant_exempt_roles": ["admin"]}

    assert await status("GET", ITEM, identity, **arguments) == expected
    assert await status("GET", "/v2/p9/servers", identity, **arguments) == expected


async def test_the_stage_alone_exempts_the_roles_that_the_configuration_exempts() -> None:
    assert Authorization().tenant_exempt_roles == TENANT_EXEMPT_ROLES
    assert await status("GET", "/v2.1/p2/images", replace(ALICE, roles=TENANT_EXEMPT_ROLES)) == 200


async def test_a_request_without_identity_passes_the_tenant_rule() -> None:
    assert await status("GET", ITEM, None) == 200


async def test_the_tenant_rule_may_be_off() -> None:
    assert await status("GET", "/v2.1/p2/images", tenant_in_path=False) == 200


async def test_tenants_may_stand_elsewhere() -> None:
    paths = ["/compute/{tenant_id}/**"]

    assert await status("GET", "/compute/p2/x", tenant_paths=paths) == 403
    assert await status("GET", "/compute/p1/x", tenant_paths=paths) == 200


def test_a_tenant_path_without_a_tenant_is_an_error() -> None:
    with pytest.raises(ValueError, match="tenant_id"):
        Authorize(upstream, tenant_paths=["/v3/**"])


async def test_a_prefix_of_the_tokens_tenant_may_be_left_out_of_the_path() -> None:
    prefixes = ["MossoCloudFS_", "other:"]

    answer = await request("GET", "/v2/9/images", RACKER, tenant_prefixes=prefixes)
    assert answer.status == 200
    assert answer.exchange.identity is not None
    assert answer.exchange.identity.project_id == "MossoCloudFS_9"
    assert await status("GET", "/v2/9/images", RACKER) == 403
    assert await status("GET", "/v2/8/images", RACKER, tenant_prefixes=prefixes) == 403


async def test_an_identity_of_several_tenants_acts_for_the_one_in_the_path() -> None:
    identity = IdentityHeaders().applied(replace(ALICE, tenant_ids=("p1", "p2")))
    headers = [(b"accept", b"*/*"), *identity.header_pairs]

    answer = await request("GET", "/v2/p2/images", identity, headers)

    told = dict(answer.scope["headers"])
    assert answer.status == 200
    assert answer.exchange.identity is not None
    assert answer.exchange.identity.project_id == "p2"
    assert (told[b"accept"], told[b"x-project-id"], told[b"x-user-id"]) == (b"*/*", b"p2", b"u1")
    assert [value for name, value in answer.scope["headers"] if name == b"x-tenant-id"] == [b"p2"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", ITEM, "DELETE, GET, HEAD, PUT"),
        ("POST", ITEM, "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/v2.1/p1/images/i/metadata", "GET, HEAD, POST, PUT"),
        ("POST", "/images/detail", "GET, HEAD"),
        ("PUT", "/v2/limits", "GET, HEAD"),
        ("PUT", "/v2/limits.json", "GET, HEAD"),
        ("OPTIONS", "/v2/p1/images/i", "DELETE, GET, HEAD"),
        ("get", "/v2/limits", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_known_operation_does_not_have_is_refused(
    method: str, path: str, allow: str
) -> None:
    answer = await request(method, path)

    assert (answer.status, answer.exchange.reason) == (405, "method_not_allowed")
    assert answer.header("allow") == allow


@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", ITEM), ("PUT", ITEM), ("PATCH", "/v2.1/p1/servers/s"), ("FOO", "/other")]
)
async def test_other_methods_pass(method: str, path: str) -> None:
    assert await status(method, path) == 200


async def test_the_method_rule_may_be_off() -> None:
    assert await status("PATCH", ITEM, methods=False) == 200


WRITES = AccessRule(
    path="/v2.1/{tenant_id}/images/{image_id}/metadata/**", methods=("PUT", "DELETE"), roles=("editor",)
)


async def test_a_rule_asks_for_a_role() -> None:
    answer = await request("PUT", ITEM, rules=[WRITES])

    assert (answer.status, answer.exchange.reason) == (403, "role_missing")
    assert await status("PUT", ITEM, replace(ALICE, roles=("editor",)), rules=[WRITES]) == 200
    assert await status("GET", ITEM, rules=[WRITES]) == 200


async def test_a_request_without_identity_has_no_role() -> None:
    assert await status("PUT", ITEM, None, rules=[WRITES]) == 403


@pytest.mark.parametrize("path", [f"{ITEM}.json", f"{ITEM}/", "/v2.1/p1/images/i/metadata.xml"])
async def test_a_rule_is_not_escaped_by_another_name_of_the_resource(path: str) -> None:
    metadata = "/v2.1/{tenant_id}/images/{image_id}/metadata"
    rules = [AccessRule(path=path, roles=("editor",)) for path in (metadata, f"{metadata}/label")]

    assert await status("PUT", path, rules=rules) == 403


async def test_forbidden_may_look_like_not_found() -> None:
    assert await status("PUT", ITEM, rules=[WRITES], mask_as_not_found=True) == 404
    assert await status("GET", "/v2.1/p2/images", mask_as_not_found=True) == 404


async def test_the_memory_of_paths_is_bounded() -> None:
    stage = Authorize(upstream)
    exchange = Exchange(request_id="r", started=0.0, identity=ALICE)
    for number in range(MEMO_ENTRIES + 10):
        stage.decide(exchange, {"path": f"/x/{number}", "method": "GET"})
    stage.decide(exchange, {"path": "/x/" + "y" * 10_000, "method": "GET"})

    assert len(stage._policies) <= MEMO_ENTRIES
    assert max(map(len, stage._policies)) < 1000


SEGMENTS = st.sampled_from(
    ["v2", "v2.1", "p1", "12345678", "images", "servers", "os-volumes-2", "limits", "metadata", "abcdef1", ""]
)
ENDINGS = st.sampled_from(["", "", "", "/", ".json", "1.json"])
PATHS = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end, st.lists(SEGMENTS, max_size=6), ENDINGS
)


@pytest.mark.parametrize("constraint", ["", ":[0-9]+"])
@given(paths=st.lists(PATHS, min_size=2, max_size=12))
@example(paths=["/v2.1/p1/12345678", "/v2.1/p1/abcdef1.json"])
def test_what_other_paths_came_before_decides_nothing(constraint: str, paths: list[str]) -> None:
    rules = [
        AccessRule(path="/v2/{tenant_id}/servers/{id" + constraint + "}", roles=("none",)),
        AccessRule(path="/v2.1/*/abcdef1", methods=("GET",), roles=("none",)),
    ]
    busy = Authorize(upstream, rules=rules)

    def decision(stage: Authorize, path: str) -> object:
        exchange = Exchange("r", 0.0, identity=replace(ALICE, project_id="p1", tenant_ids=("12345678",)))
        verdict = stage.decide(exchange, make_scope("GET", path))
        return (verdict.status, verdict.reason) if isinstance(verdict, Fault) else exchange.identity

    for path in paths:
        assert decision(busy, path) == decision(Authorize(upstream, rules=rules), path)


PATHS_OF_A_KIND = st.sampled_from(
    [
        [f"/v2.1/{tenant}/{resource}" for tenant in tenants for resource in resources]
        for tenants in (["p1"], ["5f0a1b2c3d4e", "99ab1b2c3d4e"])
        for resources in (["servers/1", "servers/22"], ["images/12345678"], ["servers"], ["os-keypairs/1"])
    ]
)


@given(
    PATHS_OF_A_KIND,
    st.sampled_from(["p1", "5f0a1b2c3d4e", "99ab1b2c3d4e"]),
    st.sampled_from([(), ("99ab1b2c3d4e",)]),
    st.sampled_from([("reader",), ("reader", "admin"), ("nobody",)]),
)
def test_a_path_passes_if_the_check_of_another_path_of_its_kind_lets_it_pass(
    paths: list[str], project_id: str, tenant_ids: tuple[str, ...], roles: tuple[str, ...]
) -> None:
    stage = Authorize(
        upstream,
        tenant_exempt_roles=["admin"],
        rules=[AccessRule(path="/v2.1/*/servers/{id}", roles=("reader",))],
    )
    identity = replace(ALICE, project_id=project_id, tenant_ids=tenant_ids, roles=roles)
    assert len({kind_of_path(path) for path in paths}) == 1

    def decides(path: str) -> bool:
        return stage.decide(Exchange("r", 0.0, identity=identity), make_scope("GET", path)) is PASS

    for known in paths:
        check = stage.target_check(Exchange("r", 0.0, identity=identity), make_scope("GET", known))
        if check is None:
            continue
        assert decides(known)
        assert all(decides(other) for other in paths if check(make_scope("GET", other)))
