"""The images of the demo's compute API and what may be done with them. No HTTP here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metaproxy.demo.world import ImageSeed

MAX_METADATA_ITEMS = 128
MAX_LENGTH = 255

Metadata = dict[str, str]


class ImageError(Exception):
    """Why something cannot be done. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is asked."""

    project_id: str
    is_admin: bool = False


@dataclass(slots=True)
class Image:
    """One image."""

    id: str
    name: str
    owner: str
    public: bool
    metadata: Metadata


class ImageStore:
    """Images in memory. Callers see their project's images and public ones; they change their own.

    Every method raises ImageError: 404 for what the caller cannot see, 403 for what they cannot change.
    """

    def __init__(self, seeds: Iterable[ImageSeed]) -> None:
        self._images = {
            seed.id: Image(seed.id, seed.name, seed.owner.id, seed.public, dict(seed.metadata))
            for seed in seeds
        }

    def visible(self, caller: Caller) -> list[Image]:
        """Return the images that ``caller`` can see."""
        return [image for image in self._images.values() if _sees(caller, image)]

    def get(self, caller: Caller, image_id: str) -> Image:
        """Return one image."""
        image = self._images.get(image_id)
        if image is None or not _sees(caller, image):
            raise ImageError(404, "Image not found.")
        return image

    def item(self, caller: Caller, image_id: str, key: str) -> str:
        """Return the value of one metadata item."""
        metadata = self.get(caller, image_id).metadata
        if key not in metadata:
            raise ImageError(404, "The resource could not be found.")
        return metadata[key]

    def replace(self, caller: Caller, image_id: str, metadata: Mapping[str, str]) -> Metadata:
        """Put ``metadata`` in place of what the image has, and return it."""
        image = self._writable(caller, image_id)
        image.metadata = _checked(metadata)
        return image.metadata

    def merge(self, caller: Caller, image_id: str, metadata: Mapping[str, str]) -> Metadata:
        """Add ``metadata`` to what the image has, and return all of it."""
        image = self._writable(caller, image_id)
        image.metadata = _checked({**image.metadata, **metadata})
        return image.metadata

    def remove_item(self, caller: Caller, image_id: str, key: str) -> None:
        """Take one metadata item away."""
        image = self._writable(caller, image_id)
        if key not in image.metadata:
            raise ImageError(404, "The resource could not be found.")
        del image.metadata[key]

    def remove(self, caller: Caller, image_id: str) -> None:
        """Delete an image."""
        del self._images[self._writable(caller, image_id).id]

    def _writable(self, caller: Caller, image_id: str) -> Image:
        image = self.get(caller, image_id)
        if not caller.is_admin and image.owner != caller.project_id:
            raise ImageError(403, "You are not allowed to change this image.")
        return image


def _sees(caller: Caller, image: Image) -> bool:
    return image.public or caller.is_admin or image.owner == caller.project_id


def _checked(metadata: Mapping[str, str]) -> Metadata:
    if len(metadata) > MAX_METADATA_ITEMS:
        raise ImageError(403, "Image metadata limit exceeded")
    for key, value in metadata.items():
        if not 0 < len(key) <= MAX_LENGTH or len(value) > MAX_LENGTH:
            raise ImageError(400, f"Keys have 1 to {MAX_LENGTH} characters, values at most {MAX_LENGTH}.")
    return dict(metadata)
