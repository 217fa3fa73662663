from metaproxy.filters.refusals import refusals
from metaproxy.telemetry.metrics import Metrics


def test_every_stage_counts_into_the_same_counter() -> None:
    metrics = Metrics()
    refusals(metrics).add(("one",))
    refusals(metrics).add(("other",))
    assert refusals(metrics).values == {("one",): 1.0, ("other",): 1.0}
