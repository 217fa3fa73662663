"""A folder of Repose's files becomes one configuration and a report.

The result starts only if nothing that may have refused a request is missing from it. Three things ensure
that: a filter is converted, is in a written list of harmless ones, or counts as a guard; every element and
attribute of a converted file is asked for, or counts as a guard; a guard that is not converted is named in
``imported.not_converted``, which the loader refuses.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metaproxy.config.repose import (
    connection_pool,
    container,
    cors,
    header_fields,
    keystone_v2,
    openstack_identity_v3,
    others,
    rate_limiting,
    simple_rbac,
    system_model,
    users,
)
from metaproxy.config.repose.chain import TOKENS, Chain, check_delegations, check_order, check_users
from metaproxy.config.repose.documents import Element, ReposeError, read_document
from metaproxy.config.repose.draft import Draft, Kind, Note
from metaproxy.config.repose.writing import written

NAMESPACE = "http://docs.openrepose.org/repose"


class Schema(NamedTuple):
    """The root and namespace that a file must have for its conversion."""

    root: str
    namespace: str
    convert: Callable[[Element, Draft, Path], None]


FILTERS: dict[str, Schema] = {
    "keystone-v2": Schema("keystone-v2", "keystone-v2/v1.0", keystone_v2.convert),
    "openstack-identity-v3": Schema(
        "openstack-identity-v3", "openstack-identity-v3/v1.0", openstack_identity_v3.convert
    ),
    "ip-user": Schema("ip-user", "ip-user/v1.0", users.ip_user),
    "simple-rbac": Schema("simple-rbac", "simple-rbac/v1.0", simple_rbac.convert),
    "rate-limiting": Schema("rate-limiting", "rate-limiting/v1.0", rate_limiting.convert),
    "header-normalization": Schema(
        "header-normalization", "header-normalization/v1.0", header_fields.header_normalization
    ),
    "add-header": Schema("add-headers", "add-header/v1.0", header_fields.add_header),
    "cors": Schema("cross-origin-resource-sharing", "cross-origin-resource-sharing/v1.0", cors.convert),
}
"""Filters by their names in the system model, those that say who is asking before those that count."""

MODEL = Schema("system-model", "system-model/v2.0", lambda root, draft, folder: None)

SERVICES = {
    container.FILE: Schema("repose-container", "container/v2.0", container.convert),
    connection_pool.FILE: Schema(
        "http-connection-pools", "http-connection-pool/v1.0", connection_pool.convert
    ),
}
"""Files that no filter names."""

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
    """The result of a conversion.

    ``yaml`` is the configuration, ``notes`` the report, ``secrets`` the variables that it needs set.
    ``not_converted`` are names of guards without an equivalent: unless it is empty, ``yaml`` does not start.
    """

    yaml: str
    notes: tuple[Note, ...]
    secrets: tuple[str, ...]
    not_converted: tuple[str, ...] = ()


def import_folder(folder: Path, accept_open: Collection[str] = ()) -> Imported:
    """Convert the ``*.cfg.xml`` files of ``folder``.

    Args:
        folder: the folder.
        accept_open: names of guards, or of filters, without which the result is to start all the same.

    Raises ReposeError for what cannot be read, and for a name in ``accept_open`` that meets nothing.
    """
    file = folder / system_model.FILE
    if not file.is_file():
        raise ReposeError(f"{folder}: holds no {system_model.FILE}")
    model = read_document(file)
    if not _fits(model, MODEL):
        raise ReposeError(f"{model.place}: is not a system model of {NAMESPACE}/{MODEL.namespace}")
    draft = Draft(accepted=frozenset(accept_open))
    uses = system_model.convert(model, draft)
    draft.tell_unread(model, system_model.GUARD)
    chain = Chain(uses)
    read = {system_model.FILE}
    for name, schema in SERVICES.items():
        if (folder / name).is_file():
            read.add(name)
            _convert_file(name, schema, draft, folder, name.partition(".")[0])
    _convert_filters(chain, draft, folder, read)
    check_order(chain, draft)
    check_users(chain, draft)
    check_delegations(chain, draft)
    _without_identity(chain, draft)
    for path in sorted(folder.glob("*.cfg.xml")):
        if path.name not in read:
            draft.left_out(path.name, f"no filter of {system_model.FILE} uses this file")
    if unknown := sorted(draft.accepted - draft.used):
        raise ReposeError(f"--accept-open {unknown[0]}: no guard of this name is missing here")
    return _imported(draft)


def _imported(draft: Draft) -> Imported:
    closing = draft.closing()
    for note in closing:
        draft.add("imported.not_converted", note.guard, f"{note.place}: {note.says}")
    order = list(Kind)
    notes = sorted((*draft.notes, *ADDED), key=lambda note: order.index(note.kind))
    names = tuple(dict.fromkeys(note.guard for note in closing))
    return Imported(written(draft), tuple(notes), tuple(draft.secrets), names)


def _convert_filters(chain: Chain, draft: Draft, folder: Path, read: set[str]) -> None:
    order = list(FILTERS)
    known = sorted((use for use in chain.uses if use.name in FILTERS), key=lambda use: order.index(use.name))
    converted: set[str] = set()
    for use in known:
        read.add(use.file)
        part = "identity" if use.name in TOKENS else use.name
        if part in converted:
            draft.not_converted(
                use.name, use.place, f"is a second filter for {part}, and one is all that there is here"
            )
            continue
        converted.add(part)
        _convert_file(use.file, FILTERS[use.name], draft, folder, use.name, use.place)
    header_fields.check(draft)
    for use in chain.uses:
        if use.name not in FILTERS:
            read.add(use.file)
            others.convert(use, draft)
    if draft.get("limits") is None or "endpoint" not in draft.data["limits"]:
        draft.set("limits.endpoint", value=None, source=f"{system_model.FILE}: no filter answers for limits")


def _convert_file(
    name: str, schema: Schema, draft: Draft, folder: Path, guard: str, place: str = system_model.FILE
) -> None:
    file = folder / name
    # A name from the XML must not lead out of the folder that is being converted.
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        # To go on without it could open what it guarded.
        raise ReposeError(f"{place}: its file {name} is missing from {folder}")
    document = read_document(file)
    if not _fits(document, schema):
        draft.not_converted(
            guard,
            document.place,
            f"is not {schema.root} of {NAMESPACE}/{schema.namespace}: no conversion knows what it says",
        )
        return
    schema.convert(document, draft, folder)
    draft.tell_unread(document, guard)


def _fits(root: Element, schema: Schema) -> bool:
    return (root.tag, root.namespace) == (schema.root, f"{NAMESPACE}/{schema.namespace}")


def _without_identity(chain: Chain, draft: Draft) -> None:
    """Write out that nobody needs a token, and take back what only tokens could give.

    If a filter that could not be converted checked tokens, nothing is written unless that is accepted: a
    configuration without the section does not load, and so opens nothing.
    """
    closing = {note.guard for note in draft.closing()}
    if draft.has_identity or not closing.isdisjoint({*others.CHECKS_TOKENS, *TOKENS}):
        return
    source = f"{system_model.FILE}: no filter checks tokens"
    draft.set("identity.provider", "none", source)
    draft.to_do(source, "if the API behind does not check tokens itself, write the section identity")
    for rule in draft.get("authorization.rules") or []:
        if rule["roles"] not in ([], ["ANY"]):
            draft.differs(source, f"{rule['path']}: nobody has a role, so nobody gets through")
            rule["roles"] = []
