"""A folder of Repose's files becomes one configuration and a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metaproxy.config.repose import (
    connection_pool,
    container,
    header_fields,
    keystone_v2,
    openstack_identity_v3,
    others,
    rate_limiting,
    simple_rbac,
    system_model,
    users,
)
from metaproxy.config.repose.documents import Element, ReposeError, read_document
from metaproxy.config.repose.draft import Draft, Kind, Note
from metaproxy.config.repose.system_model import FilterUse
from metaproxy.config.repose.writing import written

Convert = Callable[[Element, Draft], None]

FILTERS: dict[str, Convert] = {
    "keystone-v2": keystone_v2.convert,
    "openstack-identity-v3": openstack_identity_v3.convert,
    "ip-user": users.ip_user,
    "ip-identity": users.ip_user,
    "header-user": users.header_user,
    "header-identity": users.header_user,
    "uri-user": users.uri_user,
    "uri-identity": users.uri_user,
    "rate-limiting": rate_limiting.convert,
    "header-normalization": header_fields.header_normalization,
    "add-header": header_fields.add_header,
    "cors": header_fields.cors,
}
"""Filters by their names in the system model, those that say who is asking before those that count."""

ADDED = (
    Note(
        Kind.DIFFERS,
        "metaproxy",
        "adds what Repose did not hold: 405 for methods that a known operation lacks (authorization.methods)",
    ),
    Note(
        Kind.DIFFERS,
        "metaproxy",
        "stores nothing until cache.routes names paths; Repose stored no answers at all",
    ),
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a folder: the configuration, the report, and the variables that it needs set."""

    yaml: str
    notes: tuple[Note, ...]
    secrets: tuple[str, ...]


def import_folder(folder: Path) -> Imported:
    """Convert the ``*.cfg.xml`` files of ``folder``; raises ReposeError for what cannot be read."""
    documents = {path.name: read_document(path) for path in sorted(folder.glob("*.cfg.xml"))}
    model = documents.pop(system_model.FILE, None)
    if model is None:
        raise ReposeError(f"{folder}: holds no {system_model.FILE}")
    draft = Draft()
    uses = system_model.convert(model, draft)
    draft.tell_unread(model)
    for file, convert in (
        (container.FILE, container.convert),
        (connection_pool.FILE, connection_pool.convert),
    ):
        if (document := documents.pop(file, None)) is not None:
            convert(document, draft)
            draft.tell_unread(document)
    _convert_filters(uses, documents, draft, folder)
    _without_identity(uses, draft)
    for file, document in documents.items():
        draft.left_out(file, f"{document.tag}: no filter of {system_model.FILE} uses this file")
    order = list(Kind)
    notes = sorted((*draft.notes, *ADDED), key=lambda note: order.index(note.kind))
    return Imported(written(draft), tuple(notes), tuple(draft.secrets))


def _convert_filters(
    uses: list[FilterUse], documents: dict[str, Element], draft: Draft, folder: Path
) -> None:
    order = [*FILTERS, simple_rbac.FILE.partition(".")[0]]
    known = sorted((use for use in uses if use.name in order), key=lambda use: order.index(use.name))
    for use in known:
        document = documents.pop(use.file, None)
        if document is None:
            # To go on without it could open what it guarded.
            raise ReposeError(f"{use.place}: its file {use.file} is missing from {folder}")
        if use.has_paths:
            draft.differs(f"{use.place} @uri-regex", "is for every path now: a stage has no paths of its own")
        if use.name in FILTERS:
            FILTERS[use.name](document, draft)
        else:
            simple_rbac.convert(document, draft, folder)
        draft.tell_unread(document)
    for use in uses:
        if use.name not in order:
            others.tell(use.name, use.place, documents.pop(use.file, None), draft)
    if "limits" not in draft.data or "endpoint" not in draft.data["limits"]:
        draft.set("limits.endpoint", value=None, source=f"{system_model.FILE}: no filter answers for limits")


def _without_identity(uses: list[FilterUse], draft: Draft) -> None:
    """Write out that nobody needs a token, and take back what only tokens could give.

    Where a filter that could not be converted checked tokens, nothing is written: a configuration without
    the section does not load, and so opens nothing.
    """
    if draft.has_identity or any(use.name in others.GUARDS for use in uses):
        return
    source = f"{system_model.FILE}: no filter checks tokens"
    draft.set("identity.provider", "none", source)
    draft.to_do(source, "if the API behind does not check tokens itself, write the section identity")
    rules = draft.data.get("authorization", {}).get("rules", [])
    for rule in rules:
        if rule["roles"] not in ([], ["ANY"]):
            draft.differs(source, f"{rule['path']}: nobody has a role, so nobody gets through")
            rule["roles"] = []
