"""``add-header`` and ``header-normalization``: what is done to header fields.

Facts this file rests on (Repose, AddHeaderFilter and HeaderNormalizationFilter). A field that is added is
seen by the filters behind, and by the upstream. Every target whose path and method match a request strikes
the fields of its blacklist, or all but those of its whitelist; a blacklist goes first. An edit
in a target itself, not in ``request`` or ``response``, is for requests.
"""

from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, is_value, name_problem
from metaproxy.protocol.identity_headers import is_reserved

ADD, STRIKE = "add-header", "header-normalization"
EVERY_PATH = frozenset({".*", "/.*", "^.*$", "^/.*$"})
RESERVED = {"request": REQUEST_RESERVED, "response": RESPONSE_RESERVED}


def add_header(root: Element, draft: Draft, folder: Path) -> None:
    """Write ``headers``: fields that are set or added."""
    for side, reserved in RESERVED.items():
        for group in root.one(side):
            for header in group.all("header"):
                _field(header, side, reserved, draft)


def _field(header: Element, side: str, reserved: frozenset[bytes], draft: Draft) -> None:
    name, value = header.attribute("name"), header.text
    overwrite, quality = header.flag("overwrite"), header.token("quality")
    problem = name_problem(name, reserved)
    if quality:
        value = f"{value};q={quality}"
    if problem is None and not is_value(value):
        problem = "its value is not visible ASCII on one line"
    if problem is None:
        field = {"name": name, "value": value}
        draft.add(f"headers.{side}.{'set' if overwrite else 'add'}", field, header.place)
    elif side == "response":
        draft.left_out(header.place, problem)
    else:
        draft.not_converted(
            f"{ADD}/{name}", header.place, f"wrote a field by which others may decide: {problem}"
        )


def header_normalization(root: Element, draft: Draft, folder: Path) -> None:
    """Write ``remove`` of ``headers.request`` and ``headers.response``: what is struck for every request."""
    for filters in (root, *root.one("header-filters")):
        for target in filters.all("target"):
            _target(target, draft)


def _target(target: Element, draft: Draft) -> None:
    methods, path = target.token("http-methods").split(), target.attribute("uri-regex", ".*")
    if (methods and "ALL" not in methods) or path not in EVERY_PATH:
        draft.not_converted(
            f"{STRIKE}/target",
            target.tell(),
            "took fields off some requests or answers alone; here a field is taken off all or none",
        )
        return
    for group in target.one("request"):
        _struck(group, "request", draft)
    if target.first("request") is None:
        _struck(target, "request", draft)
    for group in target.one("response"):
        _struck(group, "response", draft)


def _struck(group: Element, side: str, draft: Draft) -> None:
    struck = group.first("blacklist")
    for allowed in group.one("whitelist"):
        place = allowed.tell()
        if struck is None:
            draft.not_converted(
                f"{STRIKE}/whitelist", place, "took off every field that it does not name; here all pass on"
            )
    if struck is not None:
        struck.ignore("id")
        for header in struck.all("header"):
            _remove(header, side, draft)


def _remove(header: Element, side: str, draft: Draft) -> None:
    name = header.attribute("id")
    problem = name_problem(name, RESERVED[side])
    if side == "request" and is_reserved(name.lower().encode()):
        draft.differs(
            header.place, "identity headers of clients are always taken off: there is nothing to set"
        )
    elif problem:
        draft.not_converted(f"{STRIKE}/{name}", header.place, f"took this field off: {problem}")
    elif name not in (draft.get(f"headers.{side}.remove") or ()):
        draft.add(f"headers.{side}.remove", name, header.place)


def check(draft: Draft) -> None:
    """Report fields that are edited twice: which of the edits came last is not kept here."""
    for side in RESERVED:
        edits = draft.get(f"headers.{side}") or {}
        written = [field["name"].lower() for field in edits.get("set", ())]
        added = {field["name"].lower() for field in edits.get("add", ())}
        removed = {name.lower() for name in edits.get("remove", ())}
        twice = {name for name in written if written.count(name) > 1}
        for name in sorted(twice | ({*written} & added) | (({*written} | added) & removed)):
            draft.not_converted(
                f"{ADD}/{name}",
                f"headers.{side}",
                f"{name} is edited several times; in Repose the order of filters and elements decided",
            )
