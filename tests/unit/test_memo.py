"""The bounded memo."""

from hypothesis import given
from hypothesis import strategies as st

from metaproxy.memo import Memo


def test_what_is_kept_is_found_again() -> None:
    memo: Memo[str, int] = Memo()

    assert memo.keep("a", 1) == 1
    assert memo.get("a") == 1


@given(st.lists(st.text(max_size=20), max_size=200))
def test_it_never_holds_more_entries_or_longer_keys_than_it_may(keys: list[str]) -> None:
    memo: Memo[str, int] = Memo(max_entries=10, max_size=8)

    for key in keys:
        memo.keep(key, 0, len(key))

    assert len(memo) <= 10
    assert all(len(key) <= 8 for key in memo)


def test_a_memo_of_no_entries_keeps_nothing() -> None:
    memo: Memo[str, int] = Memo(max_entries=0)

    assert memo.keep("a", 1) == 1
    assert not memo
