"""``cors``: which pages in browsers may ask.

Facts this file rests on (Repose, CorsFilter). A request of a page is refused with 403 if its origin or its
method is not allowed, also one that is not a preflight, and with 400 if its Origin cannot be read.
"""

from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.protocol.cross_origin import ORIGIN, fits_everybody

GUARD = "cors"


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write the section ``cors``, which refuses less."""
    for group in root.one("allowed-origins"):
        for origin in group.all("origin"):
            _origin(origin, draft)
    methods = [method.upper() for group in root.one("allowed-methods") for method in group.texts("method")]
    if methods:
        draft.set("cors.methods", list(dict.fromkeys(methods)), f"{root.place} / allowed-methods")
    for group in root.one("resources"):
        for resource in group.all("resource"):
            draft.left_out(
                resource.tell(), "methods are for every path: add to cors.methods what pages need there"
            )
    draft.differs(
        root.place,
        "pages may send the fields of cors.request_headers and read those of cors.response_headers; Repose "
        "let all through. Cookies and client certificates stay at home unless cors.credentials is true",
    )
    draft.not_converted(
        GUARD,
        root.place,
        "refused requests of other origins, and other methods, with 403; here a preflight is refused, and "
        "any other request goes on: its browser keeps the answer from the page",
    )


def _origin(origin: Element, draft: Draft) -> None:
    text = origin.text
    if origin.flag("regex"):
        _pattern(origin, draft)
    elif ORIGIN.fullmatch(text.lower()):
        draft.add("cors.origins", text.lower(), origin.place)
    else:
        draft.to_do(
            origin.place, f"{text!r} is not an origin (scheme://host:port): its pages may read nothing"
        )


def _pattern(origin: Element, draft: Draft) -> None:
    try:
        pattern = translated(origin.text)
    except Untranslatable as error:
        draft.to_do(origin.place, f"{error}: its pages may read nothing")
        return
    if fits_everybody(pattern):
        draft.to_do(origin.place, "lets the pages of every origin read answers: name those that need it")
    draft.add("cors.origin_patterns", pattern, origin.place)
