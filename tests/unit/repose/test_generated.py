"""Whatever guards a set of Repose's files has: its import is closed, or refuses what Repose refused."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from metaproxy.app import Application
from metaproxy.config import Config, load_config
from metaproxy.config.repose import Imported, import_folder
from tests.asgi_driver import drive
from tests.unit.repose.folders import Folder
from tests.unit.repose.oracle import FilterSet, Request, Use

ROLES = {"alice": ("reader",), "bob": ("admin", "reader"), "carol": ()}
TOKENS = [
    {"token": name, "user": {"id": name}, "project": {"id": "p1"}, "roles": list(roles)}
    for name, roles in ROLES.items()
]

names = st.sampled_from(["keystone-v2"] * 4 + ["simple-rbac"] * 3 + ["rate-limiting", "derp", "regex-rbac"])
conditions = st.sampled_from(["", "", "", "", "", "/images.*", ".*"])
chains = st.lists(st.builds(Use, names, conditions), min_size=1, max_size=4).map(tuple)
expressions = st.sampled_from(
    [
        "/docs",
        "/docs/.*",
        "/docs(/.*)?",
        r"/open/\d+",
        "/open/[^/]+",
        "/a|/b",
        "^$",
        "/.*",
        "/docs.*",
        "/open/?",
    ]
)
lines = st.builds(
    "{} {} {}".format,
    st.sampled_from(["/images", "/images/{id}", "/images/1", "/open/12", "/docs", "/images/*", "/images/"]),
    st.sampled_from(["GET", "ALL", "PUT,DELETE", "HEAD", "PATCH"]),
    st.sampled_from(["ANY", "admin", "reader,admin", "ANY,admin", "identity:tenant-access"]),
)
parts = st.sampled_from(
    [
        *[{}] * 9,
        {"keystone": "<require-service-endpoint public-url='u'/>"},
        {"keystone": "<tenant-handling><validate-tenant/></tenant-handling>"},
        {"filters@": "bypass-uri-regex='/never'"},
        {"model": "<unheard-of/>"},
        {"rbac@": "tenants-header-name='X-T'"},
    ]
)
sets = st.builds(
    FilterSet,
    chain=chains,
    white_list=st.lists(expressions, max_size=2).map(tuple),
    lines=st.lists(lines, min_size=1, max_size=4).map(tuple),
    delegating=st.frozensets(st.sampled_from(["keystone-v2", "simple-rbac"])),
    parts=parts,
)
paths = [
    "/images",
    "/images/1",
    "/images/1/x",
    "/images/*",
    "/docs",
    "/docs/",
    "/docs/a",
    "/docsx",
    "/open/12",
]
paths += [
    "/open/x",
    "/open",
    "/open/",
    "/a",
    "/",
    "/images/",
    "/open/12/",
    "/images.json",
    "/docs.xml",
    "/v2/images",
    "/v2.1/p1/images",
    "/v2/p1/docs",
]
requests = st.builds(
    Request,
    st.sampled_from(["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
    st.sampled_from(paths),
    st.sampled_from([None, *ROLES.values()]),
)


def imported(of: FilterSet, folder: Path) -> Imported:
    uses = [
        f"<filter name='{use.name}'" + (f" uri-regex='{use.condition}'/>" if use.condition else "/>")
        for use in of.chain
    ]
    delegating = {
        name: "<delegating/>" if name in of.delegating else "" for name in ("keystone-v2", "simple-rbac")
    }
    white_list = "".join(f"<uri-regex>{entry}</uri-regex>" for entry in of.white_list)
    written = {
        "lines": "\n".join(of.lines),
        "rbac": delegating["simple-rbac"],
        "keystone": delegating["keystone-v2"]
        + (f"<white-list>{white_list}</white-list>" if white_list else ""),
    }
    for name, text in of.parts.items():
        written[name] = written.get(name, "") + text
    Folder(folder).write_parts("\n".join(uses), written)
    return import_folder(folder)


def served(text: str, folder: Path) -> Config:
    """The configuration with tokens that are written down in the place of an identity service."""
    values: dict[str, Any] = yaml.safe_load(text)
    identity = values["identity"]
    if identity["provider"] != "none":
        kept = {
            key: value
            for key, value in identity.items()
            if key in ("anonymous", "anonymous_exact", "on_missing")
        }
        values["identity"] = {"provider": "static", "tokens": TOKENS, **kept}
    file = folder / "metaproxy.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_config(file, environ={})


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def answers(config: Config, asked: list[Request]) -> list[int]:
    app = Application(config, answering=upstream)
    tokens = {roles: name for name, roles in ROLES.items()}
    found = []
    for request in asked:
        headers = [("Host", "a")]
        if request.roles is not None:
            headers.append(("X-Auth-Token", tokens[request.roles]))
        found.append((await drive(app, request.method, request.path, headers)).status)
    await app.close()
    return found


def check(of: FilterSet, asked: list[Request]) -> Imported:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = imported(of, folder / "repose")
        if not result.not_converted:
            # The second time, metaproxy may remember what it decided.
            sent = [*asked, *asked]
            found = asyncio.run(answers(served(result.yaml, folder), sent))
            opened = [
                request
                for request, status in zip(sent, found, strict=True)
                if status == 200 and not of.lets(request)
            ]
            assert opened == []
    return result


@settings(max_examples=60)
@given(sets, st.lists(requests, min_size=1, max_size=12))
def test_an_import_is_closed_or_refuses_what_repose_refused(of: FilterSet, asked: list[Request]) -> None:
    event("closed" if check(of, asked).not_converted else "converted")


TWO = (Use("keystone-v2"), Use("simple-rbac"))
EVERY_REQUEST = [
    Request(method, path, roles)
    for method in ("GET", "HEAD", "PUT", "PATCH", "OPTIONS")
    for path in paths
    for roles in (None, *ROLES.values())
]


@pytest.mark.parametrize(
    "of",
    [
        FilterSet((Use("keystone-v2"),), white_list=("/docs/.*", r"/open/\d+", "/a|/b", "^$")),
        FilterSet(TWO, lines=("/images ALL ANY", "/images/{id} GET reader", "/images/1 HEAD,PUT admin")),
        FilterSet(TWO, white_list=("/docs",), lines=("/docs GET ANY", "/images GET ANY,admin")),
        FilterSet(
            (*TWO, Use("derp")),
            lines=("/images GET ANY",),
            delegating=frozenset({"keystone-v2", "simple-rbac"}),
        ),
        FilterSet((*TWO, Use("rate-limiting")), lines=("/images ALL ANY",)),
        FilterSet((Use("simple-rbac"),), lines=("/images GET ANY", "/docs GET admin")),
    ],
    ids=["white list", "roles", "both", "derp", "rates", "no tokens"],
)
def test_what_is_converted_refuses_every_request_that_repose_refused(of: FilterSet) -> None:
    assert check(of, EVERY_REQUEST).not_converted == ()
