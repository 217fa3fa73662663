"""``simple-rbac.cfg.xml``: lines of ``path METHOD[,METHOD] role[,role]``.

Facts this file rests on (Repose, "Simple RBAC filter"). A path names captures in braces. ANY and ALL
stand for every method, or for whoever comes. What no line speaks of does not exist: Repose answers 404 to the
path and 405 to the method. ``mask-rax-roles-403`` says 404 for a missing role, too.
"""

from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.protocol.routes import TemplateError, parse_template

FILE = "simple-rbac.cfg.xml"
EVERY = {"ANY", "ALL"}
FIELDS = 3


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write authorization.rules: the lines in order, and after them that nothing else is allowed."""
    masked = root.flag("mask-rax-roles-403")
    draft.set("authorization.mask_as_not_found", masked, f"{root.place} @mask-rax-roles-403")
    for element in root.all("resources"):
        for number, line in enumerate(_lines(element, draft, folder), start=1):
            _rule(line, f"{element.place}, line {number}", draft)
    for element in root.all("delegating"):
        draft.left_out(element.tell(), "a refused request is refused here, not passed on")
    for name in ("enable-masking-403", "delegating-type"):
        if root.attribute(name):
            draft.left_out(f"{root.place} @{name}", "has no counterpart")
    draft.add(
        "authorization.rules", {"path": "/**", "roles": []}, f"{root.place}: what no line names is closed"
    )
    draft.differs(root.place, "what no line names is 403 (404 where masked); Repose said 404 or 405")


def _lines(element: Element, draft: Draft, folder: Path) -> list[str]:
    text = element.text
    if name := element.attribute("href"):
        file = folder / name
        # A name from the XML must not lead out of the folder that is being converted.
        if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
            draft.to_do(element.place, f"{name!r} is no file in this folder: its lines are missing here")
            return []
        text = file.read_text(encoding="utf-8", errors="replace")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _rule(line: str, place: str, draft: Draft) -> None:
    fields = line.split()
    if len(fields) != FIELDS:
        draft.to_do(place, f"{line!r} is not path, methods and roles: its path stays closed")
        return
    path, methods, roles = fields
    try:
        parse_template(path)
    except TemplateError as error:
        draft.to_do(place, f"{error}: the path stays closed")
        return
    rule: dict[str, object] = {"path": path}
    wanted = [method.upper() for method in methods.split(",") if method]
    if not EVERY & set(wanted):
        rule["methods"] = wanted
    names = [_role(name) for name in roles.split(",") if name]
    rule["roles"] = ["ANY"] if EVERY & {name.upper() for name in names} else names
    draft.add("authorization.rules", rule, place)


def _role(name: str) -> str:
    """A role as identity says it: a space in it had to be written as a non-breaking one."""
    return name.replace("\u00a0", " ").replace("&#xA0;", " ").replace("%20", " ")
