from typing import Any

from metaproxy.telemetry.repeats import Repeats


def test_an_event_that_repeats_is_logged_once_in_an_interval_with_its_number() -> None:
    logged: list[tuple[str, dict[str, Any]]] = []
    now = 0.0
    repeats = Repeats(lambda event, **fields: logged.append((event, fields)), interval=60, clock=lambda: now)

    for second in range(70):
        now = float(second)
        repeats.log("failed", ("a",), target="a")

    assert logged == [("failed", {"times": 1, "target": "a"}), ("failed", {"times": 60, "target": "a"})]
