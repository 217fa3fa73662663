"""Paths that need no token.

An open path lets in without a token, so it must open no more than its text says. A template speaks for the
other names of its resource (``resource_table``) only if it says what that is: the segment behind version and
tenant is a literal, as in ``/v2.1/{tenant_id}/images/**``. ``/v2.1/**`` opens one version. A path with a
tenant and no version is open if a template is written so. A final slash is not part of a path, and a
format is not part of a resource of the compute API.
"""

from collections.abc import Iterable

from metaproxy.protocol.compute_api import resource_path
from metaproxy.protocol.mount import NOT_MOUNTED, Mount
from metaproxy.protocol.names import is_of_compute_api, is_resource_template
from metaproxy.protocol.resource_table import ResourceTable
from metaproxy.protocol.routes import RouteTable


class OpenPaths:
    """Path templates that need no token.

    Args:
        exact: whether templates speak for paths as they are written alone: for no other version or form, no
            format and no final slash.
    """

    def __init__(self, templates: Iterable[str], mount: Mount = NOT_MOUNTED, *, exact: bool = False) -> None:
        self._written: RouteTable[None] = RouteTable()
        self._table: ResourceTable[None] = ResourceTable(wide=False)
        for template in (inside for written in templates for inside in mount.templates(written)):
            if exact:
                self._written.add(template, None)
            else:
                self._table.add(template, None, exact=not is_resource_template(template))

    @property
    def is_shaped(self) -> bool:
        """True if paths of one kind (``compute_api.kind_of_path``) are open alike."""
        return self._table.is_shaped and self._written.is_shaped

    def has(self, path: str) -> bool:
        """Say whether ``path`` (percent-decoded) needs no token."""
        if self._written.has(path) or self._table.has(path):
            return True
        resource = resource_path(path)
        # Most paths are their resource's own; the names of others are worth the time.
        if resource != path and is_of_compute_api(path):
            return self._table.has(resource)
        return path.endswith("/") and self._table.has(path.rstrip("/") or "/")
