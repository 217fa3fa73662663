"""The store in memory: its bound, its order, its purges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaproxy.cache.memory import MAX_VARIANTS, Key, MemoryStore
from metaproxy.cache.stored import Stored
from metaproxy.protocol.caching.reuse import Terms


def stored(body: bytes = b"", *tags: str, accept: bytes | None = None) -> Stored:
    vary = ((b"accept", accept),) if accept is not None else ()
    return Stored(
        status=200, fields=(), body=body, terms=Terms(lifetime=60), born=0, asked_at=0, tags=tags, vary=vary
    )


def key(name: str) -> Key:
    return (name,)


def keys_of(store: MemoryStore, names: str) -> str:
    return "".join(name for name in names if key(name) in store)


SIZE = stored().size + 200


def test_the_least_recently_used_goes_first() -> None:
    store = MemoryStore(max_bytes=2 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored())
    store.put(key("b"), stored())

    store.select(key("a"), {})
    store.put(key("c"), stored())

    assert keys_of(store, "abc") == "ac"
    assert store.evictions == 1


def test_an_entry_beyond_its_bound_is_not_stored_and_evicts_nothing() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored())

    assert not store.put(key("b"), stored(b"x" * SIZE))
    assert keys_of(store, "ab") == "a"


def test_an_answer_takes_the_place_of_the_one_it_renews() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored(b"old"))
    before = store.bytes

    store.put(key("a"), stored(b"new"))

    found = store.select(key("a"), {})
    assert found is not None
    assert (found.body, store.bytes) == (b"new", before)


def test_variants_stand_side_by_side() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored(b"json", accept=b"json"))
    store.put(key("a"), stored(b"xml", accept=b"xml"))

    bodies = [store.select(key("a"), {b"accept": accept}) for accept in (b"json", b"xml", b"html")]

    assert [found and found.body for found in bodies] == [b"json", b"xml", None]


def test_of_two_answers_that_fit_the_newer_is_taken() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored(b"older", accept=b"json"))
    store.put(key("a"), stored(b"newer"))

    found = store.select(key("a"), {b"accept": b"json"})

    assert found is not None
    assert found.body == b"newer"


def test_the_variants_of_a_key_are_bounded() -> None:
    store = MemoryStore(max_bytes=1000 * SIZE, max_entry_bytes=SIZE)

    for number in range(2 * MAX_VARIANTS):
        store.put(key("a"), stored(accept=b"%d" % number))

    assert store.bytes < (MAX_VARIANTS + 1) * SIZE


def test_a_purge_takes_every_key_with_the_tag_and_no_other() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored(b"", "image:1", "tenant:1"))
    store.put(key("b"), stored(b"", "image:1", "tenant:2"))
    store.put(key("c"), stored(b"", "image:2", "tenant:1"))

    assert store.purge("image:1") == 2
    assert keys_of(store, "abc") == "c"
    assert store.purge("image:1") == 0


def test_purging_all_leaves_nothing() -> None:
    store = MemoryStore(max_bytes=10 * SIZE, max_entry_bytes=SIZE)
    store.put(key("a"), stored(b"", "image:1"))

    assert store.purge_all() == 1
    assert (len(store), store.bytes, list(store.tagged("image:1"))) == (0, 0, [])


operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 3000), st.sampled_from("xyz")),
        st.tuples(st.just("purge"), st.sampled_from("xyz")),
        st.tuples(st.just("select"), st.sampled_from("abcdef")),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(operations)
def test_bytes_are_always_those_of_what_is_stored_and_under_the_bound(
    steps: list[tuple[object, ...]],
) -> None:
    store = MemoryStore(max_bytes=4 * SIZE, max_entry_bytes=2 * SIZE)
    for step in steps:
        match step:
            case ("put", str(name), int(size), str(tag)):
                store.put(key(name), stored(b"x" * size, tag))
            case ("purge", str(tag)):
                store.purge(tag)
            case ("select", str(name)):
                store.select(key(name), {})

    again = MemoryStore(max_bytes=100 * SIZE, max_entry_bytes=2 * SIZE)
    for tag in "xyz":
        for found, answer in store.tagged(tag):
            again.put(found, answer)
    assert store.bytes == again.bytes
    assert store.bytes <= store.max_bytes


@pytest.mark.parametrize("length", [0, 1, 10_000])
def test_the_size_of_an_answer_grows_with_its_body(length: int) -> None:
    assert stored(b"x" * length).size - stored().size == length
