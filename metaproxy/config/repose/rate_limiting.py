"""``rate-limiting.cfg.xml``: limits by group, the limit for all together, and where limits are told.

Facts this file rests on (Repose, "Rate Limiting filter"). An expression must match the whole path. Every
distinct capture has a counter of its own. A consumer is X-PP-User and meets the rules of its first
group that has some, else those of the default group. A window begins with its first request and gives
everything back at its end.
"""

import re

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.config.repose.templates import template_of
from metaproxy.config.units import RATE_UNITS
from metaproxy.protocol.expressions import compiled

FILE = "rate-limiting.cfg.xml"


def convert(root: Element, draft: Draft) -> None:
    """Write the section ``limits``."""
    draft.set("limits.algorithm", "fixed-window", f"{root.place}: its windows")
    status = 429 if root.flag("overLimit-429-responseCode") else 413
    draft.set("limits.over_limit_status", status, f"{root.place} @overLimit-429-responseCode")
    _endpoint(root, draft)
    if (datastore := root.attribute("datastore")) and not datastore.startswith("local"):
        draft.to_do(
            f"{root.place} @datastore", f"{datastore}: set store.url, so that all nodes count together"
        )
    root.attribute("datastore-warn-limit")
    for delegating in root.all("delegating"):
        draft.left_out(delegating.tell(), "a request over its limit is refused here, not passed on")
    Rules(root, draft).convert()


def _endpoint(root: Element, draft: Draft) -> None:
    # A file without one has none: the path belongs to the upstream.
    template: str | None = None
    source = f"{root.place} has no request-endpoint"
    for endpoint in root.all("request-endpoint"):
        expression = endpoint.attribute("uri-regex")
        template, source = template_of(expression), endpoint.place
        if template is None or "**" in template:
            template = None
            draft.to_do(source, f"{expression!r} is not one path template: set limits.endpoint")
        if not endpoint.flag("include-absolute-limits"):
            draft.differs(source, "absolute limits of the upstream are told as well, where it tells any")
    draft.set("limits.endpoint", template, source)


class Rules:
    """The rules of one file, named apart."""

    def __init__(self, root: Element, draft: Draft) -> None:
        self._root = root
        self._draft = draft
        self._names: set[str] = set()
        self._capture_groups = root.flag("use-capture-groups", default=True)

    def convert(self) -> None:
        """Write every rule."""
        for group in self._root.all("global-limit-group"):
            for limit in group.all("limit"):
                self._rule(limit, "global", ["global"], [])
        for group in self._root.all("limit-group"):
            self._group(group)
        for group in self._root.all("limits-group"):
            self._draft.left_out(group.tell(), "is not an element of this file: limit-group is")

    def _group(self, group: Element) -> None:
        names = group.attribute("groups").split()
        if group.flag("default"):
            names = []
        elif not names:
            self._draft.left_out(group.tell(), "names no groups and is not the default: nobody ever met it")
            return
        if names and not self._draft.has_identity:
            self._draft.left_out(group.tell(), f"without identity nobody is in {' or '.join(names)}")
            return
        for limit in group.all("limit"):
            self._rule(limit, group.attribute("id") or "group", [self._draft.consumer], names)

    def _rule(self, limit: Element, group: str, per: list[str], groups: list[str]) -> None:
        rate = self._rate(limit)
        expression = limit.attribute("uri-regex")
        limit.attribute("uri")  # a name for people; ours shows the expression
        rule: dict[str, object] = {"name": self._name(limit.attribute("id"), group)}
        if rate is None:
            return
        try:
            rule |= self._path(expression)
        except Untranslatable as error:
            self._draft.left_out(limit.tell(), f"{expression!r}: {error}")
            return
        if query := limit.attribute("query-param-names").split():
            rule["query"] = query
        methods = limit.attribute("http-methods", "ALL").upper().replace(",", " ").split()
        if methods and "ALL" not in methods:
            rule["methods"] = methods
        rule |= {"per": per, "rate": rate}
        if groups:
            rule["groups"] = groups
        self._draft.add("limits.rates", rule, limit.place)

    def _path(self, expression: str) -> dict[str, object]:
        if expression in ("", ".*", "/.*", "^.*$", "^/.*$"):
            return {}
        python = translated(expression, may_match_more=True)
        rule: dict[str, object] = {"regex": python}
        if not self._capture_groups and compiled(python).names:
            rule["capture_groups"] = False
        return rule

    def _rate(self, limit: Element) -> str | None:
        value, unit = limit.attribute("value"), limit.attribute("unit").lower()
        if unit in RATE_UNITS and value.isdecimal() and int(value):
            return f"{value}/{unit}"
        if value == "-1":
            self._draft.left_out(limit.tell(), "is no limit (-1)")
        elif value == "0":
            self._draft.to_do(
                limit.tell(), "lets nothing through: write an authorization rule for its path with roles: []"
            )
        else:
            self._draft.to_do(limit.tell(), f"{value!r} a {unit!r} is no rate: N/second, minute, hour or day")
        return None

    def _name(self, identifier: str, group: str) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", identifier or group).strip("-._")[:56] or "rate"
        number = 1
        unique = name
        while unique in self._names:
            number += 1
            unique = f"{name}-{number}"
        self._names.add(unique)
        return unique
