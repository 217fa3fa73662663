"""Debts: what the other replicas must still be told, in one message."""

from metaproxy.cache.debts import MAX_OWED_TAGS, MAX_RETOLD, RETOLD_SECONDS, Debts


def test_nothing_is_owed_at_first() -> None:
    assert not Debts()


def test_tags_are_owed_once_until_they_are_taken() -> None:
    debts = Debts()
    debts.owe(("image:1", "image:2"))
    debts.owe(("image:1",))
    assert debts
    assert debts.take() == ("image:1", "image:2")
    assert not debts


def test_no_tags_mean_everything_whatever_is_owed_beside() -> None:
    debts = Debts()
    debts.owe(("image:1",))
    debts.owe(())
    debts.owe(("image:2",))
    assert debts
    assert debts.take() == ()
    assert not debts


def test_more_tags_than_are_kept_become_everything() -> None:
    debts = Debts()
    for number in range(MAX_OWED_TAGS + 1):
        debts.owe((f"image:{number}",))
    assert debts.take() == ()


def test_what_was_told_in_the_last_seconds_is_owed_again_after_a_doubt() -> None:
    debts = Debts()
    debts.note_told(0.0, ("old",))
    debts.note_told(10.0, ("young",))
    debts.doubt_told(10.0 + RETOLD_SECONDS / 2)
    assert debts.take() == ("young",)
    debts.doubt_told(10.0 + RETOLD_SECONDS / 2)
    assert not debts


def test_more_told_than_are_remembered_become_everything() -> None:
    debts = Debts()
    for number in range(MAX_RETOLD + 1):
        debts.note_told(1.0, (f"image:{number}",))
    debts.doubt_told(1.0)
    assert debts.take() == ()
