"""Every name of a resource, and every kind of rule: the table in SECURITY.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROJECT = "0f3c9a5be47d4c1fa6d2b8e17c905d34"
IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
OWNER, READER, STRANGER = "owner-token", "reader-token", "stranger-token"

PREFIXES = (f"/v2.1/{PROJECT}", f"/v2/{PROJECT}", "/v2.1", "/v2", "", f"/{PROJECT}")
OF_TENANT = (PREFIXES[0], PREFIXES[1], PREFIXES[5])
CERTAIN = PREFIXES[:5]
"""All but the name that only an origin mounted at a version serves."""
ENDINGS = ("", "/", ".json", ".xml", ".json/")
MOUNTS = ("", "/compute", "/%63ompute")


def spelled(path: str) -> str:
    """Return ``path`` with a letter of each of its segments escaped."""
    return "/".join(
        segment[:1] + f"%{ord(segment[1]):02x}" + segment[2:] if segment[1:] else segment
        for segment in path.split("/")
    )


def names(resource: str, prefixes: Sequence[str] = PREFIXES) -> list[str]:
    """Return every name of ``resource``: prefix, ending, spelling and mount in all combinations."""
    plain = [prefix + resource + ending for prefix in prefixes for ending in ENDINGS]
    return [mount + name for path in plain for name in (path, spelled(path)) for mount in MOUNTS]


def some_names(resource: str, prefixes: Sequence[str] = PREFIXES) -> list[str]:
    """Return names of ``resource``, among them each prefix with each ending, spelling and mount."""
    return names(resource, prefixes)[::7]


@dataclass(frozen=True)
class Row:
    """One kind of rule.

    Args:
        kind: what the table calls it.
        verdict: what it says of every name, in words.
        statuses: the statuses of the answers, one after the other; the last one holds for all that follow.
        configured: sections of the configuration.
        resource: the path of the resource without version and tenant.
        prefixes: those that are tried.
        holds: what the answer has in it.
    """

    kind: str
    verdict: str
    statuses: tuple[int, ...]
    configured: dict[str, Any]
    resource: str = f"/images/{IMAGE}/metadata"
    method: str = "GET"
    token: str = READER
    body: str = ""
    prefixes: Sequence[str] = PREFIXES
    holds: str = ""


def rate(**more: Any) -> dict[str, Any]:
    return {
        "limits": {"endpoint": None, "rates": [{"name": "r", "rate": "2/day", "methods": ["GET"], **more}]}
    }


def rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"authorization": {"rules": list(rules)}}


METADATA = "/v2.1/{tenant_id}/images/{image_id}/metadata/**"
WRITERS = {"path": METADATA, "methods": ["PUT", "POST", "DELETE"], "roles": ["member"]}
TWO_ITEMS = '{"metadata": {"a": "1", "b": "2"}}'

ROWS = (
    Row("a role by path, for one who has it not", "403", (403,), rules(WRITERS), method="PUT", body="{}"),
    Row(
        "a role by path, for one who has it",
        "200",
        (200,),
        rules(WRITERS),
        method="PUT",
        body="{}",
        token=OWNER,
    ),
    Row(
        "a role by path, then nobody for the rest",
        "200",
        (200,),
        rules({"path": METADATA, "roles": ["reader"]}, {"path": "/**", "roles": []}),
    ),
    Row("nobody by version, `/v2/**`", "403", (403,), rules({"path": "/v2/**", "roles": []})),
    Row("a role by path without a tenant", "403", (403,), rules({"path": "/images/**", "roles": ["none"]})),
    Row(
        "a role by path with the prefix",
        "403",
        (403,),
        rules({"path": f"/compute{METADATA}", "roles": ["none"]}),
    ),
    Row(
        "a role by path of this tenant",
        "403",
        (403,),
        rules({"path": f"/v2.1/{PROJECT}/images/**", "roles": ["none"]}),
    ),
    Row(
        "a role by path of this tenant, for a collection that is none of Nova's",
        "403",
        (403,),
        rules({"path": f"/v2.1/{PROJECT}/secret/**", "roles": ["none"]}),
        resource="/secret/x",
    ),
    Row(
        "a role by path without a version, for a collection that is none of Nova's",
        "403",
        (403,),
        rules({"path": "/secret/**", "roles": ["none"]}),
        resource="/secret/x",
    ),
    Row(
        "a role by path of this tenant, `/v2.1/<project>/**`",
        "403",
        (403,),
        rules({"path": f"/v2.1/{PROJECT}/**", "roles": ["none"]}),
        resource="/servers/7",
    ),
    Row(
        "nobody by version, for a collection that no template names",
        "403",
        (403,),
        rules({"path": "/v2.1/**", "roles": []}),
        resource="/hidden/x",
    ),
    Row(
        "a role by path of tenants of a form",
        "403",
        (403,),
        rules({"path": "/v2.1/{tenant_id:[0-9a-f]{32}}/images/**", "roles": ["none"]}),
    ),
    Row("a rate by path", "200, 200, then 413", (200, 200, 413), rate(path=METADATA)),
    Row(
        "a rate by path, a counter for each tenant in it",
        "200, 200, then 413",
        (200, 200, 413),
        rate(path=METADATA, per=["tenant_id", "image_id"]),
    ),
    Row(
        "a rate by path of this tenant, for a collection that is none of Nova's",
        "200, 200, then 413",
        (200, 200, 413),
        rate(path=f"/v2/{PROJECT}/thing/**"),
        resource="/thing",
        prefixes=(*PREFIXES[:2], *PREFIXES[4:]),  # /v2.1/thing is of a tenant called thing
    ),
    Row(
        "a rate by expression", "200, 200, then 413", (200, 200, 413), rate(regex=r"/v2\.1/[^/]+/images/(.*)")
    ),
    Row(
        "a rate by expression, of tenants of a form",
        "200, 200, then 413",
        (200, 200, 413),
        rate(regex=r"/v2/([0-9a-f]{32})/images/.*/metadata"),
    ),
    Row(
        "a rate by path before identity, a counter for each image",
        "200, 200, then 413",
        (200, 200, 413),
        rate(path=METADATA, per=["image_id"], before="identity"),
    ),
    Row(
        "a rate by expression before identity",
        "200, 200, then 413",
        (200, 200, 413),
        rate(regex=r"/v2\.1/[^/]+/images/(.*)", per=["address"], before="identity"),
    ),
    Row("a method that the resource has not", "405", (405,), {}, method="PATCH"),
    Row("the tenant in the path, of another's token", "403", (403,), {}, token=STRANGER, prefixes=OF_TENANT),
    Row(
        "items of a write, one too many",
        "413",
        (413,),
        {"limits": {"absolute": {"image_metadata_items": 1}}},
        method="PUT",
        body=TWO_ITEMS,
    ),
    Row(
        "the limits endpoint",
        "200, our own limits, never counted",
        (200,),
        {"limits": {"rates": [{"name": "r", "rate": "2/day"}]}},
        resource="/limits",
        holds="next-available",
    ),
    Row(
        "a path that needs no token",
        "200",
        (200,),
        {"identity": {"anonymous": ["/v2.1/{tenant_id}/images"]}},
        resource="/images",
        token="",
        prefixes=CERTAIN,
    ),
    Row(
        "a path beside one that needs no token",
        "401",
        (401,),
        {"identity": {"anonymous": ["/v2.1/{tenant_id}/images", "/v2/**"]}},
        resource="/limits",
        token="",
        prefixes=("/v2.1", f"/v2.1/{PROJECT}", "", f"/{PROJECT}"),
    ),
    Row(
        "a role by path with `exact: true`, other names than its own",
        "200",
        (200,),
        rules({"path": METADATA, "roles": ["none"], "exact": True}),
        prefixes=PREFIXES[1:],
    ),
)


def table() -> str:
    """The rows as Markdown."""
    lines = ["| kind of rule | every name of the resource |", "|---|---|"]
    return "\n".join([*lines, *(f"| {row.kind} | {row.verdict} |" for row in ROWS)])
