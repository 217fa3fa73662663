"""``rate-limiting.cfg.xml``: limits by group, the limit for all together, and where limits are told.

Facts this file rests on (Repose, RateLimitingHandler and RateLimitingServiceImpl). An expression must match
the whole decoded path. Every distinct capture has a counter of its own. A consumer is X-PP-User; its groups
are X-PP-Groups, never its roles. It meets the rules of the first group in the file that it belongs to, else
those of the default group; a group without limits has none. A window begins with its first request and
gives everything back at its end. Requests for the limits are counted as all others are.
"""

import re
from pathlib import Path
from urllib.parse import unquote_plus

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.expressions import Untranslatable, translated
from metaproxy.config.repose.templates import template_of
from metaproxy.protocol.expressions import compiled
from metaproxy.settings.units import RATE_UNITS

GUARD = "rate-limiting"
ENDPOINT = r"\/limits\/(\d*)\/"
"""The path of the limits if the file does not say."""
EVERY_PATH = frozenset({".*", "/.*", "^.*$", "^/.*$"})
METHODS = frozenset({"GET", "DELETE", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "ALL"})

_LITERAL_BEGINNING = re.compile(r"\^?((?:[A-Za-z0-9_/-]|\\[./-])*)(?![?*{|+])")


def convert(root: Element, draft: Draft, folder: Path) -> None:
    """Write the section ``limits``."""
    draft.set("limits.algorithm", "fixed-window", f"{root.place}: its windows")
    status = 429 if root.flag("overLimit-429-responseCode") else 413
    draft.set("limits.over_limit_status", status, f"{root.place} @overLimit-429-responseCode")
    _datastore(root, draft)
    root.ignore("datastore-warn-limit")
    for delegating in root.one("delegating"):
        draft.delegations[GUARD] = delegating.tell()
    Rules(root, draft).convert()
    _endpoint(root, draft)


def _datastore(root: Element, draft: Draft) -> None:
    datastore = root.attribute("datastore", "distributed/hash-ring")
    if datastore == "distributed/remote":
        draft.not_converted(
            f"{GUARD}/datastore",
            f"{root.place} @datastore",
            "counted in a store that others may share; without store.url each process counts alone: set it",
        )
    elif datastore not in ("local/default", "distributed/hash-ring"):
        root.refuse("datastore")


def _endpoint(root: Element, draft: Draft) -> None:
    # A file without one has none: the path belongs to the upstream.
    template: str | None = None
    source = f"{root.place} has no request-endpoint"
    for endpoint in root.one("request-endpoint"):
        expression = endpoint.attribute("uri-regex", ENDPOINT)
        template, source = template_of(expression), endpoint.place
        if template is None:
            draft.not_converted(
                f"{GUARD}/request-endpoint",
                source,
                f"answered {expression!r}, which is not one path template, without the upstream: set "
                "limits.endpoint, without which these requests reach it",
            )
        elif any(_may_match(limit, template) for limit in _limits(root)):
            draft.not_converted(
                f"{GUARD}/request-endpoint",
                source,
                "counted requests for the limits as all others; here they are never counted, and each asks "
                "the upstream for its own; limits.endpoint: null counts them, and sends them to the upstream",
            )
        if not endpoint.flag("include-absolute-limits"):
            draft.differs(source, "absolute limits of the upstream are told as well, where it tells any")
    draft.set("limits.endpoint", template, source)


def _limits(root: Element) -> list[Element]:
    groups = root.all("global-limit-group", "limit-group")
    return [limit for group in groups for limit in group.all("limit")]


def _may_match(limit: Element, template: str) -> bool:
    """Say whether a limit may speak of a path of ``template``: not if they begin otherwise."""
    found = _LITERAL_BEGINNING.match(limit.attribute("uri-regex"))
    ours = (found[1] if found else "").replace("\\", "")
    theirs = template.partition("{")[0]
    return ours.startswith(theirs) or theirs.startswith(ours)


class Rules:
    """The rules of one file, named apart."""

    def __init__(self, root: Element, draft: Draft) -> None:
        self._root = root
        self._draft = draft
        self._names: set[str] = set()
        self._capture_groups = root.flag("use-capture-groups", default=True)

    def convert(self) -> None:
        """Write every rule."""
        for group in self._root.one("global-limit-group"):
            self._check_ids(group)
            for limit in group.all("limit"):
                self._rule(limit, "global", ["global"], [])
        defaults = 0
        groups = self._root.all("limit-group")
        self._check_names(groups)
        for group in groups:
            self._check_ids(group)
            is_default = group.flag("default")
            defaults += is_default
            if defaults > 1 and is_default:
                group.refuse("default")
            self._group(group, is_default=is_default)

    def _check_names(self, groups: list[Element]) -> None:
        """Report that names of v3, which are unique in their domain only, were counted; here users are."""
        if self._draft.get("identity.provider") == "keystone-v3" and any(
            group.all("limit") for group in groups
        ):
            self._draft.not_converted(
                f"{GUARD}/user-name",
                self._root.place,
                "counted names, so that users of one name in several domains shared a counter; "
                "here each user has one",
            )

    def _check_ids(self, group: Element) -> None:
        ids = [limit.attribute("id") for limit in group.all("limit")]
        if len(set(ids)) != len(ids):
            self._draft.not_converted(
                f"{GUARD}/limit", group.place, "two of its limits have one id, and one counter"
            )

    def _group(self, group: Element, *, is_default: bool) -> None:
        names, limits = group.token("groups").split(), group.all("limit")
        identifier = group.attribute("id")
        if not is_default and not names:
            self._draft.left_out(group.tell(), "names no groups and is not the default: nobody ever met it")
            return
        if names and not self._meets_groups(group, names, is_default=is_default):
            return
        if not limits and not (is_default and not names):
            self._draft.not_converted(
                f"{GUARD}/limit-group",
                group.place,
                f"{' and '.join(names)} had no limit at all; here they meet those of the default group",
            )
        for limit in limits:
            self._rule(limit, identifier or "group", [self._draft.consumer], [] if is_default else names)

    def _meets_groups(self, group: Element, names: list[str], *, is_default: bool) -> bool:
        """Report what differs for the groups ``names``; say whether anybody may be in one."""
        if self._draft.groups == "none" and not is_default:
            self._draft.left_out(group.tell(), f"no filter says that anybody is in {' or '.join(names)}")
            return False
        if self._draft.groups != "none":
            self._draft.not_converted(
                f"{GUARD}/groups",
                group.place,
                f"held users in {' or '.join(names)} to these limits alone; {GROUPS[self._draft.groups]}",
            )
        return is_default or self._draft.has_identity

    def _rule(self, limit: Element, group: str, per: list[str], groups: list[str]) -> None:
        rate = self._rate(limit)
        expression = limit.attribute("uri-regex")
        methods = limit.token("http-methods", "ALL").split()
        if not set(methods) <= METHODS:
            limit.refuse("http-methods")
        limit.ignore("uri")  # a name for people; ours shows the expression
        rule: dict[str, object] = {"name": self._name(limit.attribute("id"), group)}
        try:
            rule |= self._path(expression)
            rule |= self._query(limit)
        except Untranslatable as error:
            self._lost(limit, f"{expression!r}: {error}")
            return
        if methods and "ALL" not in methods:
            rule["methods"] = methods
        rule |= {"per": per, "rate": rate}
        if groups:
            rule["groups"] = groups
        if rate is not None:
            self._draft.add("limits.rates", rule, limit.place)

    def _path(self, expression: str) -> dict[str, object]:
        if expression in EVERY_PATH:
            return {}
        if not expression:
            raise Untranslatable("it matches no path")
        python = translated(expression, may_match_more=True)
        rule: dict[str, object] = {"regex": python}
        if not self._capture_groups and compiled(python).names:
            rule["capture_groups"] = False
        return rule

    def _query(self, limit: Element) -> dict[str, object]:
        names = [unquote_plus(name, errors="strict") for name in limit.token("query-param-names").split()]
        if any("%" in name or not name.isprintable() for name in names):
            raise Untranslatable("a name of a query parameter cannot be decoded")
        return {"query": names} if names else {}

    def _rate(self, limit: Element) -> str | None:
        value, unit = limit.token("value"), limit.attribute("unit")
        if (
            unit.isupper()
            and unit.lower() in RATE_UNITS
            and value.isascii()
            and value.isdecimal()
            and int(value)
        ):
            return f"{int(value)}/{unit.lower()}"
        if value == "0":
            self._lost(limit, "lets nothing through: write an authorization rule for its path with roles: []")
        else:
            self._lost(limit, f"{value!r} a {unit!r} is not a rate: N/second, minute, hour or day")
        return None

    def _lost(self, limit: Element, why: str) -> None:
        self._draft.not_converted(f"{GUARD}/limit", limit.place, f"{why}. Nothing is counted here")

    def _name(self, identifier: str, group: str) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", identifier or group).strip("-._")[:56] or "rate"
        number = 1
        unique = name
        while unique in self._names:
            number += 1
            unique = f"{name}-{number}"
        self._names.add(unique)
        return unique


GROUPS = {
    "identity": "here a role of one of these names counts as a group, too",
    "federated": "here groups of federated users alone are known, and a role of such a name counts as one",
    "address": "here there are no groups by network, and all meet the limits of the default group",
}
"""The differences here, by the source of Repose's groups."""
