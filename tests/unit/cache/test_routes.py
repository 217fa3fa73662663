"""What a path names, and so what a write to it concerns."""

import pytest

from metaproxy.cache.routes import CacheRoutes
from metaproxy.cache.settings import CacheRoute

EVERYTHING = CacheRoute(path="/**", ttl=60)
MOUNTED = CacheRoute(path="/compute/{tenant_id}/images/{image_id}/metadata/{key}", ttl=60)


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("/v2.1/t1/images/I1.json/metadata/k", ("image:i1", "images")),
        ("/images/i1", ("image:i1", "images")),
        ("/compute/t1/images/i1", ("image:i1", "images")),
        ("/v2.1/images", ("images",)),
        ("/v2.1/t1/images/detail.xml", ("images",)),
        ("/v2.1/t1/flavors/1", ("path:/flavors/1",)),
    ],
)
def test_a_write_concerns_what_its_path_names(path: str, tags: tuple[str, ...]) -> None:
    assert CacheRoutes([EVERYTHING, MOUNTED]).written_tags(path) == tags


def test_where_nothing_is_stored_a_write_concerns_nothing() -> None:
    assert CacheRoutes([MOUNTED]).written_tags("/v2.1/t1/flavors/1") == ()


@pytest.mark.parametrize("path", ["/x/\udcff", "/images/\udcff/metadata"])
def test_octets_that_are_no_text_can_be_told_to_replicas(path: str) -> None:
    routes = CacheRoutes([EVERYTHING])

    for tag in (*routes.written_tags(path), *routes.read_tags(path, None)):
        assert tag.encode()


@pytest.mark.parametrize("path", ["/v2.1/images/i1", "/v2.1/images/detail", "/a/b"])
def test_what_is_read_is_concerned_by_what_is_written_there(path: str) -> None:
    routes = CacheRoutes([EVERYTHING])

    assert set(routes.read_tags(path, None)) <= set(routes.written_tags(path))


def test_an_image_has_one_tag_however_a_database_lets_its_id_be_spelled() -> None:
    routes = CacheRoutes([EVERYTHING])
    paths = [f"/v2.1/t1/images/{spelled}/metadata" for spelled in ("a-1", "A-1", "a-1 ")]
    assert {routes.written_tags(path) for path in paths} == {routes.written_tags(paths[0])}
    assert routes.written_tags(paths[0])
