from pathlib import Path

import pytest

from metaproxy.store.broadcast import LEASE_SECONDS
from tests.filters.caching import COLLECTION_ROUTE, ITEM_ROUTE, Origin, Time, make_cache, request
from tests.filters.replicating import Network
from tests.unit.admin.operated import Operated, told

FIRST, SECOND = "i1", "i2"


def item(image: str, key: str) -> str:
    return f"/v2.1/images/{image}/metadata/{key}"


@pytest.fixture
async def stocked(tmp_path: Path) -> Operated:
    """Two answers of the first image are stored, one of the second."""
    operated = Operated(tmp_path)
    cache = make_cache(Origin(), Time(), routes=(ITEM_ROUTE, COLLECTION_ROUTE))
    for path in (item(FIRST, "a"), item(FIRST, "b"), item(SECOND, "a")):
        await request(cache, path)
    operated.application.cache = cache
    return operated


async def test_it_tells_how_full_it_is_and_of_which_images(stocked: Operated) -> None:
    cache = told(await stocked.get("/cache"))

    assert cache["usage"]["entries"] == 3
    assert 0 < cache["usage"]["bytes"] < cache["usage"]["max_bytes"]
    assert [(each["image"], each["answers"]) for each in cache["images"]] == [(FIRST, 2), (SECOND, 1)]


async def test_of_many_images_those_with_most_answers_are_told(stocked: Operated) -> None:
    (only,) = told(await stocked.get("/cache?top=1"))["images"]

    assert only["image"] == FIRST


async def test_the_answers_of_an_image_are_told_without_their_content(stocked: Operated) -> None:
    answers = told(await stocked.get(f"/cache/answers?image={FIRST}"))

    assert answers["number"] == 2
    assert {each["path"] for each in answers["answers"]} == {item(FIRST, "a"), item(FIRST, "b")}
    assert answers["answers"][0]["status"] == 200
    assert "Updated" not in str(answers)


@pytest.mark.parametrize(
    ("asked", "purged", "left"),
    [
        ({"image": FIRST}, 2, 1),
        ({"tenant": "p1"}, 3, 0),
        ({"tenant": "p2"}, 0, 3),
        ({"path": item(SECOND, "a")}, 1, 2),
        ({"all": True}, 3, 0),
    ],
)
async def test_what_is_purged_is_gone(
    stocked: Operated, asked: dict[str, object], purged: int, left: int
) -> None:
    assert told(await stocked.post("/cache/purge", asked)) == {"purged": purged}
    assert told(await stocked.get("/cache"))["usage"]["entries"] == left


@pytest.mark.parametrize("asked", [{}, {"image": FIRST, "all": True}, {"image": ""}, {"images": FIRST}, []])
async def test_a_purge_that_does_not_name_one_thing_is_refused(stocked: Operated, asked: object) -> None:
    assert (await stocked.post("/cache/purge", asked)).status == 400
    assert told(await stocked.get("/cache"))["usage"]["entries"] == 3


@pytest.mark.parametrize("path", ["images/i1", "http://api/images/i1", "/images/i1?a=1", "/images/i1#a", "?"])
async def test_what_is_not_a_path_is_not_purged(stocked: Operated, path: str) -> None:
    answer = await stocked.post("/cache/purge", {"path": path})

    assert answer.status == 400
    assert told(answer)["error"].startswith("a path begins with /")


async def test_without_a_cache_there_is_nothing_to_purge(tmp_path: Path) -> None:
    operated = Operated(tmp_path)

    assert told(await operated.get("/cache")) == {"usage": None, "images": []}
    assert (await operated.post("/cache/purge", {"all": True})).status == 409


@pytest.mark.parametrize(
    "asked", [{"image": FIRST}, {"tenant": "p1"}, {"path": item(FIRST, "a")}, {"all": True}]
)
async def test_a_purge_that_the_other_replicas_do_not_get_is_done_here_and_answered_with_an_error(
    tmp_path: Path, asked: dict[str, object]
) -> None:
    operated, time = Operated(tmp_path), Time()
    broadcast = Network().broadcast("here", time.monotonic)
    cache = operated.application.cache = make_cache(Origin(), time, broadcast=broadcast)
    await broadcast.beat()
    await request(cache, item(FIRST, "a"))
    broadcast.cut()
    time.seconds += LEASE_SECONDS  # for which the others may still trust their memory

    answer = await operated.post("/cache/purge", asked)

    assert answer.status == 503
    assert told(answer)["error"].startswith("purged 1 answers in this process; the others could not")
    assert told(await operated.get("/cache"))["usage"]["entries"] == 0
    await cache.close()
