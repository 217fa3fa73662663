"""Which paths mean what a template says only to a reader that ignores case, or blanks at the ends of names.

Facts this file rests on. Paths are case-sensitive (RFC 3986 §6.2.2.1), and templates are matched so. Some
origins, and some servers and file systems in front of them, ignore case all the same: to them
``/V2.1/{tenant_id}/servers`` is the path whose tenant we check. A path that the two would read differently is
neither matched nor passed on.

Ids are looked up in a database, and MySQL compares text without case and without blanks at its end, as in
utf8mb4_general_ci. ``/images/ID%20`` is then the image of a template that names its id.
"""

import re
from collections.abc import Iterable

from metaproxy.protocol.compute_api import resource_path
from metaproxy.protocol.names import is_resource_template
from metaproxy.protocol.resource_table import ResourceTable

BLANKS = re.compile(r"(?<=[^/ ]) +(?=/|\Z)")
"""Blanks at the end of a segment that has something before them."""


class Spellings:
    """The spellings of ``templates``. Captured segments keep their case: they are names, not structure."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._exact: ResourceTable[str] = ResourceTable(memo_entries=0, wide=False)
        self._folded: ResourceTable[str] = ResourceTable(memo_entries=0, wide=False)
        self._any_has_case = False
        for template in dict.fromkeys(templates):
            # A template that names no resource speaks of the paths that it matches, and of no other names.
            exact = not is_resource_template(template)
            self._exact.add(template, template, exact=exact)
            self._folded.add(_fold(template), template, exact=exact)
            self._any_has_case |= _fold(template) != template

    def problem(self, path: str) -> str | None:
        """Return what must not be ignored because ``path`` (percent-decoded) would match other templates."""
        bare = BLANKS.sub("", path) if " " in path else path
        folded = bare.casefold()
        if folded == path and not self._any_has_case:
            return None
        exact = _templates(self._exact, path)
        if exact == _templates(self._folded, folded):
            return None
        if exact == _templates(self._folded, path.casefold()):
            return "the path is another one if blanks at the end of a name are ignored"
        return "the path is another one if case is ignored"


def _templates(table: ResourceTable[str], path: str) -> set[str]:
    return {match.value for spelling in (path, resource_path(path)) for match in table.matches(spelling)}


def _fold(template: str) -> str:
    return "/".join(_fold_segment(segment) for segment in template.split("/"))


def _fold_segment(segment: str) -> str:
    if not segment.startswith("{"):
        return segment.casefold()
    name, colon, constraint = segment[1:-1].partition(":")
    # A constraint that sets flags sets them at its start, where it must stay.
    ignoring = constraint if constraint.startswith("(?") else f"(?i:{constraint})"
    return f"{{{name}{colon}{ignoring if colon else ''}}}"
