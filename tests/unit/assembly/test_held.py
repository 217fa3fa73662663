from metaproxy.assembly.held import Held, kept


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
    before = Held(Part(), {"a": 1})

    assert kept(before, {"a": 1}, Part) is before


def test_a_part_made_from_something_else_is_made_anew() -> None:
    before = Held(Part(), {"a": 1})

    after = kept(before, {"a": 2}, Part)

    assert after is not before
    assert after.part is not before.part


def test_where_there_was_none_a_part_is_made() -> None:
    assert kept(None, "x", Part).made_from == "x"
