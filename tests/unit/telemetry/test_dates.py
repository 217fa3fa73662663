from metaproxy.telemetry.dates import DateField


def test_the_date_follows_the_clock_second_by_second() -> None:
    now = [784111777.0]
    date = DateField(lambda: now[0])

    first = date()
    now[0] += 0.9
    same_second = date()
    now[0] += 0.1
    next_second = date()

    assert first == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert same_second is first
    assert next_second == b"Sun, 06 Nov 1994 08:49:38 GMT"
