from metaproxy.protocol.limits.top import ConsumerCount, TopConsumers


def test_the_busiest_come_first_with_their_refusals() -> None:
    top = TopConsumers()
    for consumer, refused in [("a", False), ("b", True), ("b", False), ("c", False), ("b", True)]:
        top.record(consumer, 0.0, refused=refused)
    assert top.top(2, 0.0) == [ConsumerCount("b", 3, 2), ConsumerCount("c", 1, 0)]


def test_counts_are_about_now() -> None:
    top = TopConsumers(period_seconds=60)
    top.record("a", 0.0, refused=False)
    top.record("a", 61.0, refused=False)
    assert top.top(1, 61.0) == [ConsumerCount("a", 2, 0)]
    assert top.top(1, 125.0) == [ConsumerCount("a", 1, 0)]
    assert top.top(1, 500.0) == []


def test_a_heavy_consumer_is_counted_exactly_among_any_number_of_others() -> None:
    top = TopConsumers(capacity=10)
    for number in range(1000):
        top.record("heavy", 0.0, refused=False)
        top.record(f"light{number}", 0.0, refused=False)
    assert top.top(1, 0.0) == [ConsumerCount("heavy", 1000, 0)]


def test_no_more_consumers_are_held_than_the_capacity() -> None:
    top = TopConsumers(capacity=10)
    for number in range(1000):
        top.record(str(number), 0.0, refused=False)
    assert len(top.top(10**6, 0.0)) <= 10


def test_a_consumer_can_be_forgotten() -> None:
    top = TopConsumers()
    top.record("a", 0.0, refused=False)
    top.forget("a")
    assert top.top(1, 0.0) == []
