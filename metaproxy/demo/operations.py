"""The operations of the demo's compute API: a table of paths, methods and what each does.

As with the API itself, a path may carry the project or not; ``/v2`` and ``/v2.1`` are the same here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from metaproxy.demo import representations
from metaproxy.demo.images import Caller, ImageStore
from metaproxy.demo.representations import Document
from metaproxy.protocol.routes import RouteTable


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of an operation."""

    images: ImageStore
    caller: Caller
    names: Mapping[str, str]
    body: bytes

    @property
    def image_id(self) -> str:
        """The image that the path names."""
        return self.names["image_id"]

    @property
    def key(self) -> str:
        """The metadata key that the path names."""
        return self.names["key"]


Result = Document | None
"""The answer of an operation: a document (200), or None (204)."""
Operation = Callable[[Call], Result]
Methods = Mapping[str, Operation]


def read_item(call: Call) -> Result:
    """Show one metadata item."""
    return representations.item(call.key, call.images.item(call.caller, call.image_id, call.key))


def write_item(call: Call) -> Result:
    """Set one metadata item."""
    value = representations.read_item(call.body, call.key)
    call.images.merge(call.caller, call.image_id, {call.key: value})
    return representations.item(call.key, value)


def delete_item(call: Call) -> Result:
    """Delete one metadata item."""
    call.images.remove_item(call.caller, call.image_id, call.key)
    return None


def read_collection(call: Call) -> Result:
    """List the metadata of an image."""
    return representations.collection(call.images.get(call.caller, call.image_id).metadata)


def replace_collection(call: Call) -> Result:
    """Put other metadata in place of all that the image has."""
    metadata = representations.read_collection(call.body)
    return representations.collection(call.images.replace(call.caller, call.image_id, metadata))


def merge_collection(call: Call) -> Result:
    """Add to the metadata of an image, or change some of it."""
    metadata = representations.read_collection(call.body)
    return representations.collection(call.images.merge(call.caller, call.image_id, metadata))


def read_image(call: Call) -> Result:
    """Show an image."""
    return representations.image(call.images.get(call.caller, call.image_id))


def delete_image(call: Call) -> Result:
    """Delete an image."""
    call.images.remove(call.caller, call.image_id)
    return None


def list_images(call: Call) -> Result:
    """List the images in detail."""
    return representations.images(call.images.visible(call.caller))


def read_limits(call: Call) -> Result:
    """Show the absolute limits."""
    return representations.limits()


PREFIXES: Final = ("", "/v2", "/v2.1", "/v2/{tenant_id}", "/v2.1/{tenant_id}")
OPERATIONS: Final[Mapping[str, Methods]] = {
    "/images/detail": {"GET": list_images},
    "/images/{image_id}": {"GET": read_image, "DELETE": delete_image},
    "/images/{image_id}/metadata": {
        "GET": read_collection,
        "PUT": replace_collection,
        "POST": merge_collection,
    },
    "/images/{image_id}/metadata/{key}": {"GET": read_item, "PUT": write_item, "DELETE": delete_item},
    "/limits": {"GET": read_limits},
}


def operation_table() -> RouteTable[Methods]:
    """Return every path of the API with its methods."""
    table: RouteTable[Methods] = RouteTable()
    for prefix in PREFIXES:
        for path, methods in OPERATIONS.items():
            table.add(prefix + path, methods)
    return table
