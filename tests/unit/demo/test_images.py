"""Who sees which images, and who may change them."""

import pytest

from metaproxy.demo.images import MAX_LENGTH, MAX_METADATA_ITEMS, Caller, ImageError, ImageStore
from metaproxy.demo.world import BLUE, BLUE_IMAGE, IMAGES, PUBLIC_IMAGE, RED, RED_IMAGE

RED_CALLER, BLUE_CALLER, ADMIN = Caller(RED.id), Caller(BLUE.id), Caller("", is_admin=True)


@pytest.fixture
def images() -> ImageStore:
    return ImageStore(IMAGES)


def test_a_caller_sees_their_own_images_and_public_ones(images: ImageStore) -> None:
    assert {image.id for image in images.visible(BLUE_CALLER)} == {BLUE_IMAGE.id, PUBLIC_IMAGE.id}


def test_an_admin_sees_every_image(images: ImageStore) -> None:
    assert len(images.visible(ADMIN)) == len(IMAGES)


def test_the_image_of_another_project_is_not_found(images: ImageStore) -> None:
    with pytest.raises(ImageError) as caught:
        images.get(RED_CALLER, BLUE_IMAGE.id)
    assert caught.value.status == 404


def test_a_public_image_is_read_by_all_and_changed_by_its_owner_alone(images: ImageStore) -> None:
    assert images.item(RED_CALLER, PUBLIC_IMAGE.id, "architecture") == "x86_64"
    with pytest.raises(ImageError) as caught:
        images.merge(RED_CALLER, PUBLIC_IMAGE.id, {"architecture": "arm64"})
    assert caught.value.status == 403


def test_merging_keeps_what_is_not_named(images: ImageStore) -> None:
    assert images.merge(RED_CALLER, RED_IMAGE.id, {"label": "New"}) == {"label": "New", "os": "linux"}


def test_replacing_drops_what_is_not_named(images: ImageStore) -> None:
    assert images.replace(RED_CALLER, RED_IMAGE.id, {"a": "b"}) == {"a": "b"}


def test_a_removed_item_is_not_found_and_cannot_be_removed_again(images: ImageStore) -> None:
    images.remove_item(RED_CALLER, RED_IMAGE.id, "label")
    for again in (images.item, images.remove_item):
        with pytest.raises(ImageError) as caught:
            again(RED_CALLER, RED_IMAGE.id, "label")
        assert caught.value.status == 404


def test_a_removed_image_is_not_found(images: ImageStore) -> None:
    images.remove(RED_CALLER, RED_IMAGE.id)
    with pytest.raises(ImageError):
        images.get(RED_CALLER, RED_IMAGE.id)


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({str(number): "" for number in range(MAX_METADATA_ITEMS + 1)}, 403),
        ({"": "value"}, 400),
        ({"k" * (MAX_LENGTH + 1): "value"}, 400),
        ({"key": "v" * (MAX_LENGTH + 1)}, 400),
    ],
)
def test_metadata_has_bounds(images: ImageStore, metadata: dict[str, str], status: int) -> None:
    with pytest.raises(ImageError) as caught:
        images.replace(RED_CALLER, RED_IMAGE.id, metadata)
    assert caught.value.status == status
