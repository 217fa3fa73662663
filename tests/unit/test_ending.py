import pytest

from metaproxy.ending import EndingCache


class Entry:
    def __init__(self) -> None:
        self.until, self.ended = 60.0, False

    def end(self) -> None:
        self.ended = True


def cache(now: list[float]) -> EndingCache[str, Entry]:
    return EndingCache(2, ttu=lambda _key, entry, _now: entry.until, timer=lambda: now[0])


def test_an_entry_that_others_push_out_learns_it() -> None:
    entries = [Entry() for _ in range(3)]
    kept = cache([0.0])

    for number, entry in enumerate(entries):
        kept[str(number)] = entry

    assert [entry.ended for entry in entries] == [True, False, False]


def test_an_entry_that_is_dropped_learns_it() -> None:
    kept, entry = cache([0.0]), Entry()
    kept["a"] = entry

    kept.drop("a")

    assert (entry.ended, len(kept)) == (True, 0)


def test_what_is_not_there_any_more_can_be_dropped() -> None:
    now = [0.0]
    kept = cache(now)
    kept["a"] = Entry()
    now[0] = 61.0

    kept.drop("a")
    kept.drop("b")

    assert len(kept) == 0


def test_the_entry_that_was_used_least_recently_goes_first() -> None:
    kept = cache([0.0])
    kept["a"], kept["b"] = Entry(), Entry()

    kept.get("a")
    kept["c"] = Entry()

    assert ("a" in kept, "b" in kept, "c" in kept) == (True, False, True)


def test_entries_whose_time_is_over_leave_without_being_asked_for() -> None:
    now = [0.0]
    kept = EndingCache[str, Entry](1000, ttu=lambda _key, entry, _now: entry.until, timer=lambda: now[0])
    over = [Entry() for _ in range(100)]
    for number, entry in enumerate(over):
        kept[f"over {number}"] = entry
    now[0] = 61.0

    for number in range(50):
        lives = Entry()
        lives.until = 1000.0
        kept[f"lives {number}"] = lives

    assert all(entry.ended for entry in over)
    assert len(kept) == 50


def test_an_entry_that_a_holder_has_used_stays_when_another_can_go() -> None:
    used = Entry()
    left: list[Entry] = []
    marks = {id(used): True}
    kept = EndingCache[str, Entry](
        2,
        ttu=lambda _key, entry, _now: entry.until,
        timer=lambda: 0.0,
        was_used=lambda entry: marks.pop(id(entry), False),
        at_end=left.append,
    )
    other = Entry()
    kept["used"], kept["other"] = used, other

    kept["new"] = Entry()

    assert left == [other]


def test_keys_that_come_and_go_take_no_memory() -> None:
    kept = cache([0.0])
    for number in range(10_000):
        kept["a"] = Entry()
        kept.drop("a")
        kept[str(number % 7)] = Entry()

    assert len(kept) <= 2


def test_an_entry_that_is_too_large_is_refused() -> None:
    kept = EndingCache[str, Entry](
        2, ttu=lambda _key, entry, _now: entry.until, timer=lambda: 0.0, getsizeof=lambda _: 3
    )

    with pytest.raises(ValueError, match="larger"):
        kept["a"] = Entry()
