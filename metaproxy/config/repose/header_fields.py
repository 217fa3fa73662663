"""``add-header``, ``header-normalization`` and ``cors``: what is done to header fields."""

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.protocol.cross_origin import ORIGIN, fits_everybody
from metaproxy.protocol.header_edits import REQUEST_RESERVED, RESPONSE_RESERVED, is_value, name_problem
from metaproxy.protocol.identity_headers import is_reserved

EVERY_METHOD = {"", "ALL"}
RESERVED = {"request": REQUEST_RESERVED, "response": RESPONSE_RESERVED}


def add_header(root: Element, draft: Draft) -> None:
    """Write ``headers``: fields that are set or added."""
    for side, reserved in RESERVED.items():
        for group in root.all(side):
            for header in group.all("header"):
                _field(header, side, reserved, draft)


def _field(header: Element, side: str, reserved: frozenset[bytes], draft: Draft) -> None:
    name, value = header.attribute("name"), header.text
    overwrite, quality = header.flag("overwrite"), header.attribute("quality")
    if problem := name_problem(name, reserved):
        draft.left_out(header.place, problem)
        return
    if quality:
        value = f"{value};q={quality}"
    if not is_value(value):
        draft.left_out(header.place, "its value is not visible ASCII on one line")
        return
    draft.add(f"headers.{side}.{'set' if overwrite else 'add'}", {"name": name, "value": value}, header.place)


def header_normalization(root: Element, draft: Draft) -> None:
    """Write ``remove`` of ``headers.request`` and ``headers.response``: what is struck for every request."""
    for filters in (root, *root.all("header-filters")):
        for group in (filters, *filters.all(*RESERVED)):
            side = group.tag if group.tag in RESERVED else "request"  # the only side until Repose 8
            for target in group.all("target"):
                _struck(target, side, draft)


def _struck(target: Element, side: str, draft: Draft) -> None:
    methods, path = target.attribute("http-methods"), target.attribute("uri-regex")
    for allowed in target.all("whitelist"):
        draft.left_out(allowed.tell(), "fields that are not named are passed on, but for identity's")
    for struck in target.all("blacklist"):
        if methods.upper() not in EVERY_METHOD or path not in ("", ".*", "/.*"):
            draft.left_out(
                struck.tell(), "is for some requests alone; headers are edited for all or for none"
            )
            continue
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
        draft.left_out(header.place, problem)
    else:
        draft.add(f"headers.{side}.remove", name, header.place)


def cors(root: Element, draft: Draft) -> None:
    """Write the section ``cors``."""
    for group in root.all("allowed-origins"):
        for origin in group.all("origin"):
            _origin(origin, draft)
    methods = [method.upper() for group in root.all("allowed-methods") for method in group.texts("method")]
    if methods:
        draft.set("cors.methods", list(dict.fromkeys(methods)), f"{root.place} / allowed-methods")
    for group in root.all("resources"):
        for resource in group.all("resource"):
            draft.left_out(
                resource.tell(), "methods are for every path: add to cors.methods what pages need there"
            )
    draft.differs(
        root.place,
        "pages may send the fields of cors.request_headers and read those of cors.response_headers; Repose "
        "let all through. Cookies and client certificates stay at home unless cors.credentials is true",
    )
    draft.differs(root.place, "a request of another origin is refused by its browser; Repose said 403")


def _origin(origin: Element, draft: Draft) -> None:
    text = origin.text
    if origin.flag("regex"):
        _pattern(origin, draft)
    elif ORIGIN.fullmatch(text.lower()):
        draft.add("cors.origins", text.lower(), origin.place)
    else:
        draft.to_do(origin.place, f"{text!r} is no origin (scheme://host:port): its pages may read nothing")


def _pattern(origin: Element, draft: Draft) -> None:
    try:
        pattern = translated(origin.text)
    except Untranslatable as error:
        draft.to_do(origin.place, f"{error}: its pages may read nothing")
        return
    if fits_everybody(pattern):
        draft.to_do(origin.place, "lets the pages of every origin read answers: name those that need it")
    draft.add("cors.origin_patterns", pattern, origin.place)
