r"""Regular expressions of paths as path templates, where they are simple enough to be.

Facts this file rests on. An expression must match the whole path, so ``^`` and ``$`` at its ends change
nothing. A template captures one segment, ``{name}`` or ``{name:regex}``, which is never empty; ``**`` is
the rest. ``/docs/.*`` needs the slash that ``/docs/**`` does not. A template that is returned matches no
path that the expression does not match, because it may open what it matches: ``\d+`` is ``{id:[0-9]+}``.
A dot before a letter or digit, as in ``/v2.1``, is taken for that dot alone.
"""

import re
from collections.abc import Iterator

from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.protocol.routes import TemplateError, parse_template

_LITERAL = re.compile(r"(?:[A-Za-z0-9_~@:,;=!-]|\\[.\-_~+$()]|\.(?=[A-Za-z0-9]))+")
_ANY_SEGMENT = re.compile(r"\(?(?:\?:|\?<\w+>)?\[\^/\][+*][+?]?\)?")
_CONSTRAINT = re.compile(
    r"""(?: \\[dw.\-_~] | \[(?:[A-Za-z0-9_~-]|\\[dw.\-])+\] | [A-Za-z0-9_~-] | \((?:\?:)? | \) | \|
          | [+*?] | \{[0-9]+(?:,[0-9]*)?\} )+""",
    re.VERBOSE,
)
"""Expressions that match no slash: classes, groups and quantifiers of names."""
_VERSION = re.compile(r"v\d+(\.\d+)?")
_RESTS = {
    "(/.*)?": ("/**",),
    "(?:/.*)?": ("/**",),
    "/.*": ("/", "/{rest}/**"),
    "/.+": ("/{rest}/**",),
    "/?": ("", "/"),
    "": ("",),
}
"""The ends of expressions, longest first, and those of their templates."""


def open_templates_of(java: str) -> list[str] | None:
    """Return path templates that match what the expression ``java`` matches; None if there are none."""
    found: list[str] = []
    for alternative in _split(java.replace("\\/", "/"), "|"):
        text = alternative.removeprefix("^")
        if text.endswith("$") and not text.endswith("\\$"):
            text = text[:-1]
        templates = _alternative(text)
        if templates is None:
            return None
        found += templates
    return list(dict.fromkeys(found))


def template_of(java: str) -> str | None:
    """Return the one path template that stands for the expression ``java``, a final slash aside, or None."""
    templates = open_templates_of(java) or [""]
    template = templates[0]
    is_one = templates in ([template], [template, f"{template}/"])
    return template if is_one and template and not template.endswith("**") else None


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


def _alternative(text: str) -> list[str] | None:
    if text == "":
        return []  # no path is empty
    if text in (".*", "/.*"):
        return ["/**"]
    ending = next(ending for ending in _RESTS if text.endswith(ending))
    inside = _segments(text.removesuffix(ending))
    if inside is None:
        return None
    templates = [_checked(inside + rest or "/") for rest in _RESTS[ending]]
    found = [template for template in templates if template is not None]
    return found if len(found) == len(templates) else None


def _segments(text: str) -> str | None:
    if text in ("", "/"):
        return text.removesuffix("/")
    if not text.startswith("/"):
        return None
    names: list[str] = []
    parts: list[str] = []
    for segment in _split(text[1:], "/"):
        if segment == "" and parts:
            parts.append("")
            continue
        after_version = len(parts) == 1 and _VERSION.fullmatch(parts[0])
        name = "tenant_id" if after_version else f"segment_{len(parts) + 1}"
        if _LITERAL.fullmatch(segment):
            parts.append(segment.replace("\\", ""))
        elif _ANY_SEGMENT.fullmatch(segment):
            names.append(name)
            parts.append(f"{{{name}}}")
        elif (constraint := _constraint(segment)) is not None:
            names.append(name)
            parts.append(f"{{{name}:{constraint}}}")
        else:
            return None
    if "" in parts[:-1]:
        return None
    return "".join(f"/{part}" for part in parts)


def _constraint(segment: str) -> str | None:
    if not _CONSTRAINT.fullmatch(segment):
        return None
    try:
        return translated(segment)
    except Untranslatable:
        return None


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of ``text`` between separators that are in no group, class or escape."""
    depth, begin, in_class, escaped = 0, 0, False, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == separator and depth == 0:
            yield text[begin:index]
            begin = index + 1
    yield text[begin:]


def _checked(template: str) -> str | None:
    try:
        parse_template(template)
    except TemplateError:
        return None
    return template
