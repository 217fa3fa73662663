from metaproxy.assembly.held import Held, Keeper


class Part:
    """Writes down what becomes of it."""

    def __init__(self) -> None:
        self.life: list[str] = []

    async def start(self) -> None:
        self.life.append("started")

    async def close(self) -> None:
        self.life.append("closed")


async def test_a_part_is_started_by_its_first_holder_and_closed_by_its_last() -> None:
    part = Part()
    held = Held(part, "x")

    await held.start()
    await held.start()
    await held.close()
    with_one_holder = list(part.life)
    await held.close()

    assert with_one_holder == ["started"]
    assert part.life == ["started", "closed"]


def test_a_part_made_from_the_same_is_kept() -> None:
    before = Keeper()
    held = before.keep("part", {"a": 1}, Part)

    after = Keeper(before)

    assert after.keep("part", {"a": 1}, Part) is held
    assert after.kept("part") is held.part


def test_a_part_made_from_something_else_is_made_anew() -> None:
    before = Keeper()
    held = before.keep("part", {"a": 1}, Part)

    after = Keeper(before)

    assert after.keep("part", {"a": 2}, Part).part is not held.part
    assert after.kept("part") is None


def test_a_part_of_another_name_is_made_anew() -> None:
    before = Keeper()
    held = before.keep("part", (), Part)

    assert Keeper(before).keep("other", (), Part) is not held


def test_a_part_that_one_application_did_without_is_made_anew() -> None:
    first = Keeper()
    held = first.keep("part", (), Part)
    second = Keeper(first)

    assert Keeper(second).keep("part", (), Part) is not held


def test_the_parts_of_the_application_before_are_released() -> None:
    before = Keeper()
    before.keep("part", (), Part)
    after = Keeper(before)

    after.release()

    assert after.kept("part") is None
    assert after.keep("part", (), Part) is not before.keep("part", (), Part)
