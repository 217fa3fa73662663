"""``ip-user``, ``header-user`` and ``uri-user``: a consumer's name from something other than a token."""

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft


def ip_user(root: Element, draft: Draft) -> None:
    """Let rates count by address, which they do without tokens."""
    for element in root.all("user-header", "group-header"):
        draft.left_out(element.tell(), "the upstream sees the address in X-Forwarded-For, not in X-PP-User")
    for group in root.all("group"):
        draft.left_out(
            group.tell(),
            "groups by network have no counterpart: every address meets the default group's rates",
        )
    draft.to_do(root.place, "name the load balancers in server.trusted_proxies, or all clients look like one")


def header_user(root: Element, draft: Draft) -> None:
    """Tell that names are not believed."""
    draft.left_out(
        root.tell(),
        "a name in a header can be made up by anybody: rates count by token, or by address without",
    )


def uri_user(root: Element, draft: Draft) -> None:
    """Tell what comes nearest."""
    draft.left_out(
        root.tell(), "write rates with path: and per: [the captured name] to count by a part of the path"
    )
