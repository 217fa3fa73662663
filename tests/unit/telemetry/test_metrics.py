import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metaproxy.telemetry.metrics import Metrics


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_counter_shows_one_number_per_label_values() -> None:
    metrics = Metrics()
    counter = metrics.counter("metaproxy_things", "Things.", ("kind",))

    counter.add(("a",))
    counter.add(("a",), 2)
    counter.add(("b",))

    seen = scrape(metrics)
    assert seen[("metaproxy_things_total", (("kind", "a"),))] == 3
    assert seen[("metaproxy_things_total", (("kind", "b"),))] == 1


def test_a_counter_without_labels_starts_at_zero() -> None:
    metrics = Metrics()
    metrics.counter("metaproxy_things", "Things.")

    assert scrape(metrics)[("metaproxy_things_total", ())] == 0


def test_a_gauge_is_read_at_scrape_time() -> None:
    metrics, entries = Metrics(), [1.0]
    metrics.gauge("metaproxy_entries", "Entries.", (), lambda: [((), entries[0])])

    entries[0] = 7.0

    assert scrape(metrics)[("metaproxy_entries", ())] == 7


def test_a_histogram_counts_cumulatively_by_upper_bound() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("metaproxy_seconds", "Seconds.", ("stage",))

    for seconds in (0.0005, 0.002, 100.0):
        histogram.observe(("x",), seconds)

    seen = scrape(metrics)
    at = {labels: value for (name, labels), value in seen.items() if name == "metaproxy_seconds_bucket"}
    assert at[(("le", "0.0005"), ("stage", "x"))] == 1
    assert at[(("le", "0.0025"), ("stage", "x"))] == 2
    assert at[(("le", "30.0"), ("stage", "x"))] == 2
    assert at[(("le", "+Inf"), ("stage", "x"))] == 3
    assert seen[("metaproxy_seconds_sum", (("stage", "x"),))] == pytest.approx(100.0025)


def test_the_same_name_is_the_same_instrument() -> None:
    metrics = Metrics()

    assert metrics.counter("a", "A.") is metrics.counter("a", "A.")


def test_a_name_has_one_kind() -> None:
    metrics = Metrics()
    metrics.counter("a", "A.")

    with pytest.raises(TypeError, match="a is no histogram"):
        metrics.histogram("a", "A.")


def test_a_successor_goes_on_with_the_counts() -> None:
    metrics = Metrics()
    metrics.counter("metaproxy_things", "Things.").add()

    successor = metrics.successor()
    successor.counter("metaproxy_things", "Things.").add()

    assert metrics.counter("metaproxy_things", "Things.").values == {(): 2.0}


def test_the_gauges_of_a_successor_leave_those_before_alone() -> None:
    metrics = Metrics()
    metrics.gauge("metaproxy_level", "A level.", (), lambda: [((), 1.0)])

    metrics.successor().gauge("metaproxy_level", "A level.", (), lambda: [((), 2.0)])

    (family,) = metrics.collect()
    assert [sample.value for sample in family.samples] == [1.0]


def test_a_number_that_is_kept_elsewhere_is_shown_as_a_counter() -> None:
    metrics, kept = Metrics(), [3.0]
    metrics.total("metaproxy_kept", "Kept elsewhere.", (), lambda: [((), kept[0])])

    kept[0] = 4.0

    (family,) = metrics.collect()
    assert (family.type, [(sample.name, sample.value) for sample in family.samples]) == (
        "counter",
        [("metaproxy_kept_total", 4.0)],
    )
