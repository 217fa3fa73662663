"""Repose's decision on a request, in a few lines of our own: the other side of the test of generated sets.

A chain asks its filters in order. A filter that is not modelled refuses everything, because it may do so.
"""

import re
from dataclasses import dataclass, field

PARTS_OF = {"keystone": "keystone-v2", "rbac@": "simple-rbac", "filters@": "", "model": ""}
"""The filter whose file a part is in; "" for the system model, which every request meets."""
ALL = ("GET", "PUT", "POST", "DELETE")


@dataclass(frozen=True)
class Request:
    """A request; ``roles`` are those of its token, None for no valid token."""

    method: str
    path: str
    roles: tuple[str, ...] | None


@dataclass(frozen=True)
class Use:
    """A filter in the chain; ``condition`` is its uri-regex, "" for none."""

    name: str
    condition: str = ""


@dataclass(frozen=True)
class FilterSet:
    """A set of files: the chain, and what its filters say. ``parts`` are further texts that may guard."""

    chain: tuple[Use, ...]
    white_list: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    delegating: frozenset[str] = frozenset()
    parts: dict[str, str] = field(default_factory=dict)

    def lets(self, request: Request) -> bool:
        """Say whether the upstream gets ``request``."""
        user: tuple[str, ...] | None = None
        was_refused = False
        for use in self.chain:
            if use.condition and not re.fullmatch(use.condition, request.path):
                continue
            passes = True
            match use.name:
                case "keystone-v2":
                    is_open = any(re.fullmatch(entry, request.path) for entry in self.white_list)
                    if not is_open:
                        user, passes = request.roles, request.roles is not None
                case "simple-rbac":
                    passes = any(_line_lets(line, request, user or ()) for line in self.lines)
                case "rate-limiting":
                    passes = user is not None
                case "derp":
                    passes = not was_refused
                case _:
                    return False
            if not passes and use.name not in self.delegating:
                return False
            was_refused = was_refused or not passes
        names = {use.name for use in self.chain}
        return not any(PARTS_OF[part] in {*names, ""} for part in self.parts)


def _line_lets(line: str, request: Request, roles: tuple[str, ...]) -> bool:
    path, methods, names = line.split(maxsplit=2)
    expression = re.sub(r"\\\{[^/]*\\\}", "[^/]+", re.escape(path))
    wanted = {method for text in methods.split(",") for method in (ALL if text == "ALL" else (text,))}
    is_role = names in ("ANY", "ALL") or not {name.strip() for name in names.split(",")}.isdisjoint(roles)
    return bool(re.fullmatch(expression, request.path)) and request.method in wanted and is_role
