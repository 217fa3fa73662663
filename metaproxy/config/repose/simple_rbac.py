"""``simple-rbac.cfg.xml``: lines of ``path METHOD[,METHOD] role[,role]``.

Facts this file rests on (Repose, SimpleRbacFilter). A path names captures in braces. ANY or ALL as a method
stands for GET, PUT, POST and DELETE; GET does not speak of HEAD. ANY or ALL as the only role stands for
everybody; beside another it is the name of a role. A role may have spaces in it. Requests that no line names
are refused: 404 for the path, 405 for the method. ``mask-rax-roles-403`` answers 404 for a missing role, too.
A question mark ends a line, as a line end does. Lines of a file count only if the element has none.
"""

import re
from itertools import zip_longest
from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.protocol.routes import NAME

GUARD = "simple-rbac"
EVERY = frozenset({"ANY", "ALL"})
METHODS = ("GET", "PUT", "POST", "DELETE")
FIELDS = 3

_SEGMENT = re.compile(r"[A-Za-z0-9._~@:-]+")
_SPACES = " \t\n\x0b\f\r"
"""White space of Java's regular expressions."""
_METHOD = re.compile(r"[A-Z]+")

OUTPUTS = ("enable-api-coverage", "dot-output", "wadl-output")
"""Attributes that make Repose write files about the rules."""


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write authorization.rules: the lines in order, and after them that nothing else is allowed."""
    masked = root.flag("mask-rax-roles-403")
    draft.set("authorization.mask_as_not_found", masked, f"{root.place} @mask-rax-roles-403")
    root.ignore(*OUTPUTS)
    if root.attribute("roles-header-name", "X-ROLES").upper() != "X-ROLES":
        root.refuse("roles-header-name")
    if root.has("tenants-header-name"):
        root.attribute("tenants-header-name")
        draft.not_converted(
            f"{GUARD}/tenants-header-name",
            f"{root.place} @tenants-header-name",
            "judged roles by the tenants of a request; here a role counts in the tenant of the path",
        )
    for element in root.one("delegating"):
        draft.delegations[GUARD] = element.tell()
    rules = [
        (rule, f"{element.place}, line {number}")
        for element in root.one("resources")
        for number, line in _lines(element, draft, folder)
        if (rule := _rule(line, f"{element.place}, line {number}", draft)) is not None
    ]
    _tell_overlaps(rules, draft)
    for rule, place in _in_order(rules, root.place):
        draft.add("authorization.rules", rule, place)
    draft.differs(root.place, "what no line names is 403 (404 where masked); Repose said 404 or 405")


Rule = dict[str, object]


def _tell_overlaps(rules: list[tuple[Rule, str]], draft: Draft) -> None:
    """Report lines that an earlier one may decide for: Repose let through what any line let through."""
    for later, (rule, place) in enumerate(rules):
        for earlier, source in rules[:later]:
            if earlier["roles"] not in (["ANY"], rule["roles"]) and _overlap(earlier, rule):
                line = source.rpartition(", ")[2]
                draft.differs(place, f"{line} decides where both speak of a request; Repose took either")


def _overlap(one: Rule, other: Rule) -> bool:
    """Say whether both may speak of one request."""
    pairs = zip_longest(str(one["path"]).split("/"), str(other["path"]).split("/"))
    return not set(_methods(one)).isdisjoint(_methods(other)) and all(
        left is not None and right is not None and (left == right or "{" in left + right)
        for left, right in pairs
    )


def _in_order(rules: list[tuple[Rule, str]], place: str) -> list[tuple[Rule, str]]:
    """``rules`` so that GET does not bring HEAD: what names HEAD, then nobody, then the rest."""
    heads: list[tuple[Rule, str]] = [
        ({**rule, "methods": ["HEAD"]}, source) for rule, source in rules if "HEAD" in _methods(rule)
    ]
    others: list[tuple[Rule, str]] = []
    for rule, source in rules:
        if methods := [method for method in _methods(rule) if method != "HEAD"]:
            others.append(({**rule, "methods": methods}, source))
    no_head: Rule = {"path": "/**", "methods": ["HEAD"], "roles": []}
    closed: Rule = {"path": "/**", "roles": []}
    return [
        *heads,
        (no_head, f"{place}: GET does not speak of HEAD"),
        *others,
        (closed, f"{place}: what no line names is closed"),
    ]


def _methods(rule: Rule) -> list[str]:
    methods = rule["methods"]
    return methods if isinstance(methods, list) else []


def _lines(element: Element, draft: Draft, folder: Path) -> list[tuple[int, str]]:
    """Return the lines that say something, with their numbers."""
    text, name = element.token_text, element.attribute("href")
    if not text and name:
        file = folder / name
        # A name from the XML must not lead out of the folder that is being converted.
        if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
            draft.not_converted(
                f"{GUARD}/href",
                element.place,
                f"{name!r} is not a file in this folder: its lines stay closed",
            )
            return []
        text = file.read_text(encoding="utf-8", errors="replace")
    lines = enumerate((line.strip(_SPACES) for line in re.split(r"\r\n|[\r\n?]", text)), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _rule(line: str, place: str, draft: Draft) -> Rule | None:
    fields = re.split(f"[{_SPACES}]+", line, maxsplit=FIELDS - 1)
    path = _template(fields[0])
    methods = _wanted(fields[1]) if len(fields) > 1 else None
    names = _roles(fields[2]) if len(fields) == FIELDS else None
    if path is None or methods is None or names is None:
        draft.not_converted(
            f"{GUARD}/line",
            place,
            f"{line!r} is not a path, methods and roles as we know them: it stays closed",
        )
        return None
    is_for_all = len(names) == 1 and names[0].upper() in EVERY
    roles = ["ANY"] if is_for_all else [name for name in names if name not in draft.ignored_roles | {"ANY"}]
    # Repose compared the path as it came: a line opened no other version of a resource.
    return {"path": path, "methods": methods, "roles": roles, "exact": True}


def _roles(text: str) -> list[str] | None:
    """Return the roles of a line; None if one of them has blanks at its ends that Repose kept."""
    names = list(dict.fromkeys(_role(name) for name in text.split(",") if name.strip(_SPACES)))
    return names if all(name and name == name.strip() for name in names) else None


def _wanted(text: str) -> list[str] | None:
    wanted: list[str] = []
    for method in (name.strip(_SPACES).upper() for name in text.split(",")):
        if method and not _METHOD.fullmatch(method):
            return None
        wanted += METHODS if method in EVERY else [method] if method else []
    return list(dict.fromkeys(wanted)) or None


def _template(path: str) -> str | None:
    """Return the path template of a line, its captures under names that we can have."""
    parts: list[str] = []
    for number, segment in enumerate(path.removeprefix("/").split("/"), start=1):
        if segment.startswith("{") and segment.endswith("}") and not set("{}:") & set(segment[1:-1]):
            name = re.sub(r"[^A-Za-z0-9_]", "_", segment[1:-1])
            taken = f"{{{name}}}" in parts or not NAME.fullmatch(name)
            parts.append(f"{{segment_{number}}}" if taken else f"{{{name}}}")
        elif _SEGMENT.fullmatch(segment) or path == "/":
            parts.append(segment)
        else:
            return None
    return "/" + "/".join(parts)


def _role(name: str) -> str:
    """Return a role as identity says it: spaces in it are one, which may be written as a non-breaking one."""
    return re.sub(f"[{_SPACES}]+", " ", name.strip(_SPACES)).replace("\u00a0", " ")
