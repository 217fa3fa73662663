"""Regular expressions of paths as path templates, where they are simple enough to be.

``/v2/[^/]+/images/.*`` is ``/v2/{tenant_id}/images/**``. What is no literal segment, no whole-segment
capture and no final rest has no template: the caller tells so. A dot before a letter or digit, as in
``/v2.1``, was meant as one.
"""

import re

from metaproxy.protocol.routes import TemplateError, parse_template

_LITERAL = re.compile(r"(?:[A-Za-z0-9_~@:,;=!-]|\\[.\-_~+$()]|\.(?=[A-Za-z0-9]))+")
_ANY_SEGMENT = re.compile(
    r"\(?(?:\?:|\?<\w+>)?(?:\[\^/\??\]|\.|\\w|\\d|\[A-Za-z0-9_\]|\[\^/\\\?\]|\[\\w-\]|\[-\\w\])[*+]\+?\??\)?"
)
_VERSION = re.compile(r"v\d+(\.\d+)?")


def template_of(java: str) -> str | None:
    """Return the path template that matches the paths of the expression ``java``, or None."""
    text = java.removeprefix("^").removesuffix("$")
    for optional in ("(/.*)?", "(?:/.*)?", "/.*"):
        if text.endswith(optional):
            inside = _segments(text.removesuffix(optional))
            return None if inside is None else _checked(f"{inside}/**")
    inside = _segments(text.removesuffix("/?"))
    return None if inside is None else _checked(inside or "/")


def tenant_template_of(java: str) -> str | None:
    """Return the template for an expression whose first group finds the tenant anywhere in a path.

    Repose looks for it (``find``), so the path may go on.
    """
    text = java.removeprefix("^").removesuffix("$").removeprefix(".*")
    head, opening, _ = text.partition("(")
    inside = _segments(head.removesuffix("/"))
    if inside is None or not opening or not head.endswith("/"):
        return None
    return _checked(f"{inside}/{{tenant_id}}/**")


def _segments(text: str) -> str | None:
    if text in ("", "/"):
        return ""
    if not text.startswith("/"):
        return None
    names: list[str] = []
    parts: list[str] = []
    for segment in _split(text[1:]):
        if _LITERAL.fullmatch(segment):
            parts.append(segment.replace("\\", ""))
        elif _ANY_SEGMENT.fullmatch(segment):
            after_version = len(parts) == 1 and _VERSION.fullmatch(parts[0])
            names.append("tenant_id" if after_version else f"segment_{len(parts) + 1}")
            parts.append(f"{{{names[-1]}}}")
        else:
            return None
    return "".join(f"/{part}" for part in parts)


def _split(text: str) -> list[str]:
    """Split at slashes, but not at those inside a character class."""
    return re.findall(r"(?:\[[^\]]*\]|[^/\[])+", text) if "//" not in text else [""]


def _checked(template: str) -> str | None:
    try:
        parse_template(template)
    except TemplateError:
        return None
    return template
