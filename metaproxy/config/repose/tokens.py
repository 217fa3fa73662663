"""What the two Keystone filters of Repose have in common: white list, cache, tenants, roles."""

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft
from metaproxy.config.repose.templates import template_of, tenant_template_of
from metaproxy.config.units import format_duration

DEFAULT_TOKEN_SECONDS = 600
"""For so long Repose believes an answer of identity where its file does not say."""


def begin(draft: Draft, provider: str, source: str) -> None:
    """Write the provider; rates count by user from here on."""
    draft.has_identity = True
    draft.consumer = "user"
    draft.set("identity.provider", provider, source)


def anonymous(root: Element, draft: Draft) -> None:
    """Write the paths that need no token, where they are templates."""
    for white_list in root.all("white-list"):
        for entry in white_list.all("uri-regex", "uri-pattern", "regex"):
            template = template_of(entry.text)
            if template is None:
                draft.to_do(
                    entry.place,
                    f"{entry.text!r} is not one path template: name its paths in identity.anonymous",
                )
            else:
                draft.add("identity.anonymous", template, entry.place)
    if not draft.data["identity"].get("anonymous"):
        draft.set("identity.anonymous", [], f"{root.place}: no white-list")


def delegating(root: Element, draft: Draft) -> None:
    """Write what becomes of a request without a valid token."""
    for element in root.all("delegating"):
        draft.set("identity.on_missing", "delegate", element.tell())
        draft.differs(element.place, "X-Identity-Status: Invalid tells the upstream, not X-Delegated")


def cache(root: Element, draft: Draft) -> None:
    """Write how long identity's answers are believed."""
    for element in root.all("cache"):
        for feed in element.all("atom-feed"):
            draft.left_out(
                feed.tell(),
                "revocations come by `metaproxy revoke`, or from Keystone: identity.revocation_events",
            )
        for timeouts in element.all("timeouts"):
            _timeouts(timeouts, draft)
    if "cache" not in draft.data["identity"]:
        draft.set(
            "identity.cache.ttl", format_duration(DEFAULT_TOKEN_SECONDS), f"{root.place}: Repose's default"
        )


def _timeouts(timeouts: Element, draft: Draft) -> None:
    seconds = DEFAULT_TOKEN_SECONDS
    for token in timeouts.all("token"):
        if token.text.isdecimal() and int(token.text):
            seconds = int(token.text)
        else:
            draft.differs(
                token.place, f"{token.text!r} has no counterpart: tokens are kept for {seconds} s at most"
            )
    draft.set("identity.cache.ttl", format_duration(seconds), timeouts.place)
    variability = timeouts.attribute("variability")
    if variability.isdecimal() and int(variability):
        percent = min(100, max(1, round(100 * int(variability) / seconds)))
        draft.set("identity.cache.jitter", f"{percent}%", f"{timeouts.place} @variability")
    for element in timeouts.all("group", "endpoints"):
        draft.differs(element.tell(), "is kept as long as its token: they come and go together")


def tenant(element: Element | None, expressions: list[str], root: Element, draft: Draft) -> None:
    """Write where a path names its tenant; checked even where Repose did not, unless switched off."""
    if element is None:
        draft.differs(
            root.place,
            "the tenant in /v2/{tenant} and /v2.1/{tenant} must be the token's, although Repose did not "
            "check; authorization.tenant_in_path: false switches that off",
        )
        return
    draft.set("authorization.tenant_in_path", value=True, source=element.place)
    templates = [tenant_template_of(expression) for expression in expressions]
    for expression, template in zip(expressions, templates, strict=True):
        if template is None:
            draft.to_do(
                element.place, f"{expression!r} is not one path template: set authorization.tenant_paths"
            )
    if found := [template for template in templates if template]:
        draft.set("authorization.tenant_paths", found, element.place)


def exempt_roles(roles: list[str], source: str, draft: Draft) -> None:
    """Write which roles may name any tenant: these and no others."""
    draft.set("authorization.tenant_exempt_roles", roles, source if roles else f"{source}: none")


def endpoint(element: Element, draft: Draft) -> None:
    """Tell of a service endpoint that a token's catalog had to hold."""
    draft.left_out(element.tell(), "the catalog is not looked into: ask for a role in authorization.rules")
