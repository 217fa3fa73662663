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
