"""The common parts of Repose's two Keystone filters: white list, cache, tenants, roles.

Facts this file rests on (keystone-v2.xsd, openstack-identity-v3.xsd). An answer of identity is believed for
``token`` seconds, groups for ``group`` and endpoints for ``endpoints``; -1 is not at all, 0 is as long as the
token lives. An entry of the white list must match the whole path as the client wrote it.
"""

from collections.abc import Iterable

from metaproxy.config.repose.documents import PADDED, Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.templates import open_templates_of, tenant_template_of
from metaproxy.settings.units import format_duration

DEFAULT_TOKEN_SECONDS = 600
"""For so long Repose believes an answer of identity where its file does not say."""

CLOCKS = ("token", "group", "endpoints")


def begin(draft: Draft, provider: str, source: str) -> None:
    """Write the provider; rates count by user from here on."""
    draft.has_identity = True
    draft.consumer = "user"
    draft.set("identity.provider", provider, source)


def anonymous(root: Element, guard: str, draft: Draft) -> None:
    """Write the paths that need no token; an expression that no templates express stays closed."""
    for white_list in root.one("white-list"):
        for entry in white_list.all("uri-regex", "uri-pattern"):
            if entry.is_padded:
                draft.not_converted(
                    f"{guard}/white-list", entry.tell(), f"{PADDED}; it opened no path, and opens none here"
                )
                continue
            templates = open_templates_of(entry.text)
            if templates is None:
                draft.not_converted(
                    f"{guard}/white-list",
                    entry.place,
                    f"{entry.text!r} is not a list of path templates: name its paths in identity.anonymous, "
                    "where they need a token until then",
                )
            for template in templates or ():
                draft.add("identity.anonymous", template, entry.place)
    # Repose compared the path as it came: an entry opened no other version of a resource.
    if exact := bool(draft.data["identity"].get("anonymous")):
        draft.set("identity.anonymous_exact", exact, root.place)
    else:
        draft.set("identity.anonymous", [], f"{root.place}: no white-list")


def delegating(root: Element, guard: str, draft: Draft) -> None:
    """Note that the filter ``guard`` passes refused requests on; its place in the chain decides the rest."""
    for element in root.one("delegating"):
        draft.delegations[guard] = element.tell()


def cache(root: Element, guard: str, draft: Draft) -> None:
    """Write how long identity's answers are believed: as long as the shortest of Repose's clocks."""
    seconds, source = DEFAULT_TOKEN_SECONDS, f"{root.place}: Repose's default"
    for element in root.one("cache"):
        for timeouts in element.one("timeouts"):
            seconds, source = _seconds(timeouts), timeouts.place
            _jitter(timeouts, seconds, draft)
        for feed in element.all("atom-feed"):
            _feed(feed, guard, seconds, draft)
    draft.set("identity.cache.ttl", format_duration(seconds), source)
    draft.set(
        "identity.cache.stale_if_unavailable",
        "0s",
        f"{root.place}: nothing is believed while identity is down",
    )


def _seconds(timeouts: Element) -> int:
    found = [_clock(timeouts, name) for name in CLOCKS]
    return min((seconds for seconds in found if seconds is not None), default=DEFAULT_TOKEN_SECONDS)


def _clock(timeouts: Element, name: str) -> int | None:
    """Seconds, 0 for not at all, None for the default or longer."""
    text = ""
    for element in timeouts.one(name):
        text = element.token_text
    text = timeouts.token(name) or text
    if text == "-1":
        return 0
    return min(int(text), DEFAULT_TOKEN_SECONDS) if text.isdecimal() and int(text) else None


def _jitter(timeouts: Element, seconds: int, draft: Draft) -> None:
    for name in ("variability", "variance"):
        text = timeouts.token(name)
        if text.isdecimal() and int(text) and seconds:
            percent = min(100, max(1, round(100 * int(text) / seconds)))
            draft.set("identity.cache.jitter", f"{percent}%", f"{timeouts.place} @{name}")


def _feed(feed: Element, guard: str, seconds: int, draft: Draft) -> None:
    place = feed.tell()
    if not seconds:
        draft.left_out(place, "tokens are not kept, so there is nothing that a feed must revoke")
        return
    draft.not_converted(
        f"{guard}/atom-feed",
        place,
        f"told Repose of revoked tokens; here they count for up to {format_duration(seconds)}: send "
        "revocations by `metaproxy revoke`, or read them from Keystone (identity.revocation_events)",
    )


def tenant(
    element: Element | None, expressions: Iterable[str], guard: str, root: Element, draft: Draft
) -> None:
    """Write where a path names its tenant; checked even where Repose did not, unless switched off."""
    if element is None:
        draft.differs(
            root.place,
            "the tenant in /v2/{tenant} and /v2.1/{tenant} must be the token's, although Repose did not "
            "check; authorization.tenant_in_path: false switches that off",
        )
        return
    draft.set("authorization.tenant_in_path", value=True, source=element.place)
    found = [template for expression in expressions if (template := tenant_template_of(expression))]
    if found:
        draft.set("authorization.tenant_paths", found, element.place)
    draft.not_converted(
        f"{guard}/{element.tag}",
        element.tell(),
        "refused every request that names no tenant, or another's; "
        "here authorization.tenant_paths checks the paths that it names",
    )


def exempt_roles(roles: list[str], source: str, draft: Draft) -> None:
    """Write which roles may name any tenant: these and no others."""
    draft.set("authorization.tenant_exempt_roles", roles, source if roles else f"{source}: none")


def endpoint(element: Element, guard: str, draft: Draft) -> None:
    """Report a service endpoint that a token's catalog had to hold."""
    draft.not_converted(
        f"{guard}/{element.tag}",
        element.tell(),
        "refused tokens without this endpoint in their catalog; here the catalog is not looked into: ask for "
        "a role in authorization.rules",
    )
