"""Stored answers that replicas share: what cannot be read counts as absent."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaproxy.cache.second_level import SecondLevel, SharedAnswer
from metaproxy.cache.stored import Stored
from metaproxy.protocol.caching.reuse import Terms
from metaproxy.store.entries import Found

KEY = ("/v2.1/images/i1/metadata/label", b"partition")
ANSWER = Stored(
    status=200,
    shown_status=200,
    fields=((b"content-type", b"application/json"),),
    body=b"{}",
    terms=Terms(lifetime=60.0),
    vary=(),
    tags=("t",),
    born=1000.0,
    asked_at=1000.0,
)


class OneEntry:
    """A store of one entry."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.times = 0

    async def get(self, key: bytes, tags: Sequence[str]) -> Found:
        return Found(self.content, (b"g",))

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        self.content = content

    async def forget(self, tags: Sequence[str]) -> None:
        self.content = None


async def kept(answer: Stored) -> tuple[OneEntry, SecondLevel]:
    entries = OneEntry()
    level = SecondLevel(entries, monotonic=lambda: 1000.0, wall=lambda: 1_800_000_000.0)
    await level.put(KEY, answer, SharedAnswer(None, Found(None, (b"g",))))
    return entries, level


async def test_what_was_stored_is_read() -> None:
    _, level = await kept(ANSWER)

    stored = (await level.get(KEY, ("t",))).stored

    assert stored is not None
    assert (stored.status, stored.body, stored.fields) == (200, b"{}", ANSWER.fields)


@pytest.mark.parametrize(
    "nonsense",
    [
        replace(ANSWER, status=5),
        replace(ANSWER, shown_status=70_000),
        replace(ANSWER, born=float("nan")),
        replace(ANSWER, terms=replace(ANSWER.terms, stale_if_error=float("inf"))),
    ],
    ids=["status", "shown status", "moment", "terms"],
)
async def test_an_entry_that_is_no_answer_counts_as_absent(nonsense: Stored) -> None:
    _, level = await kept(nonsense)

    assert (await level.get(KEY, ("t",))).stored is None


@given(content=st.binary(max_size=200))
async def test_octets_of_any_kind_count_as_absent(content: bytes) -> None:
    entries, level = await kept(ANSWER)
    entries.content = content

    assert (await level.get(KEY, ("t",))).stored is None


@given(at=st.integers(0, 80), value=st.integers(0, 255))
async def test_an_entry_with_a_wrong_octet_is_an_answer_or_absent(at: int, value: int) -> None:
    entries, level = await kept(ANSWER)
    assert entries.content is not None
    content = bytearray(entries.content)
    content[at % len(content)] = value
    entries.content = bytes(content)

    stored = (await level.get(KEY, ("t",))).stored

    assert stored is None or 200 <= stored.status <= 599


class RefusingEntry(OneEntry):
    """A store that takes no entry, and forgets only if it ``forgets``."""

    def __init__(self, *, forgets: bool) -> None:
        super().__init__()
        self.content = b"stored"
        self.forgets = forgets
        self.forgotten: tuple[str, ...] = ()

    async def put(self, key: bytes, content: bytes, found: Found, seconds: float) -> None:
        raise OSError

    async def forget(self, tags: Sequence[str]) -> None:
        if not self.forgets:
            raise OSError
        self.forgotten = tuple(tags)


@pytest.mark.parametrize("forgets", [True, False])
async def test_an_answer_that_cannot_be_withdrawn_is_purged_by_its_tags_or_owed(forgets: bool) -> None:
    entries = RefusingEntry(forgets=forgets)
    owed: list[tuple[str, ...]] = []
    level = SecondLevel(entries, monotonic=lambda: 1000.0, wall=lambda: 1_800_000_000.0, owe=owed.append)

    await level.withdraw(KEY, ("t",))

    assert (entries.forgotten, owed) == ((("t",), []) if forgets else ((), [("t",)]))
