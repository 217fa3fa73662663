"""``ip-user``: a consumer's name and groups from the address.

Facts this file rests on (Repose, IpUserFilter). The address is the first of X-Forwarded-For, whoever wrote
it, else the peer's. It becomes X-PP-User, and the label of its network X-PP-Groups, unless the file names
other fields.
"""

from pathlib import Path

from metaproxy.config.repose.documents import Element
from metaproxy.config.repose.draft import Draft

GUARD = "ip-user"
FIELDS = {"user-header": "x-pp-user", "group-header": "x-pp-groups"}


def ip_user(root: Element, draft: Draft, folder: Path) -> None:
    """Let rates count by address, which they do without tokens."""
    for tag, field in FIELDS.items():
        for header in root.one(tag):
            if header.attribute("name", field).lower() != field or (
                draft.has_identity and header.has("quality")
            ):
                draft.not_converted(
                    f"{GUARD}/{tag}",
                    header.tell(),
                    "wrote the address or its network to a field by which others may decide",
                )
            else:
                header.ignore("quality")
                draft.left_out(header.place, "the upstream sees the address in X-Forwarded-For")
    if draft.groups == "none":
        draft.groups = "address"
    for group in root.all("group"):
        draft.left_out(group.tell(), "the upstream does not see the network of an address")
    draft.to_do(root.place, "name the load balancers in server.trusted_proxies, or all clients look like one")
