"""Counters that cost a dictionary update, shown to Prometheus when it asks.

Children of prometheus_client take a lock on every increment. A process with one event loop needs
none: these instruments hold plain numbers, and ``Metrics`` is a collector that turns them into metric
families at scrape time. Labels are fixed sets of words; nothing a client sends may become one.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Cell:
    """One number of a counter, for who adds to it often: ``cell.value += 1`` is all there is to do."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Counter:
    """A number that only grows, one per combination of label values."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self.name, self.documentation, self.labels = name, documentation, tuple(labels)
        self._cells: dict[Labels, Cell] = {} if labels else {(): Cell()}

    @property
    def values(self) -> dict[Labels, float]:
        """Every number, by label values."""
        return {labels: cell.value for labels, cell in self._cells.items()}

    def cell(self, labels: Labels = ()) -> Cell:
        """Return the number for the label values ``labels``, given in the order of the names."""
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = Cell()
        return found

    def add(self, labels: Labels = (), amount: float = 1.0) -> None:
        """Add ``amount`` for the label values ``labels``."""
        self.cell(labels).value += amount

    def family(self) -> Metric:
        """Return what Prometheus is told."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Gauge:
    """A number read at scrape time: ``read`` returns pairs of label values and number."""

    kind: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], read: Callable[[], Samples]
    ) -> None:
        self.name, self.documentation, self.labels, self._read = name, documentation, tuple(labels), read

    def family(self) -> Metric:
        """Return what Prometheus is told."""
        family = self.kind(self.name, self.documentation, labels=self.labels)
        for labels, value in self._read():
            family.add_metric(labels, value)
        return family


class Total(Gauge):
    """A number that only grows and is kept elsewhere, read at scrape time."""

    kind = CounterMetricFamily


class Row:
    """The counts of one histogram for one combination of label values."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class Histogram:
    """Counts of durations by upper bound in seconds, one row per combination of label values."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self.name, self.documentation, self.labels = name, documentation, tuple(labels)
        self.rows: dict[Labels, Row] = {}

    def row(self, labels: Labels = ()) -> Row:
        """Return the counts for the label values ``labels``, given in the order of the names."""
        found = self.rows.get(labels)
        if found is None:
            found = self.rows[labels] = Row()
        return found

    def observe(self, labels: Labels, seconds: float) -> None:
        """Count one duration for the label values ``labels``."""
        self.row(labels).observe(seconds)

    def family(self) -> Metric:
        """Return what Prometheus is told: cumulative counts."""
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        for labels, row in list(self.rows.items()):
            total, buckets = 0, []
            for bound, count in zip([*map(str, SECONDS), "+Inf"], row.counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, sum_value=row.total)
        return family


Kept = TypeVar("Kept", Counter, Histogram)


class Metrics(Collector):
    """Every instrument of one pipeline. Pass it to a prometheus_client registry to expose them.

    Asking twice for the same name gives the same instrument, so that stages need not know of each
    other, and counts go on across a reload.
    """

    def __init__(self) -> None:
        self._instruments: dict[str, Counter | Gauge | Histogram] = {}

    def successor(self) -> "Metrics":
        """Return metrics that go on with these counts, and in which gauges may be told anew.

        A pipeline that is built to take the place of another gets one: if it comes to nothing, the
        gauges here still read what is in use.
        """
        metrics = Metrics()
        metrics._instruments.update(self._instruments)
        return metrics

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter ``name`` (without ``_total``), made at the first call."""
        return self._kept(Counter(name, documentation, labels))

    def histogram(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Histogram:
        """Return the histogram ``name`` (in seconds), made at the first call."""
        return self._kept(Histogram(name, documentation, labels))

    def _kept(self, made: Kept) -> Kept:
        """Return the instrument of that name and kind, ``made`` if there is none; raises TypeError."""
        found = self._instruments.setdefault(made.name, made)
        if not isinstance(found, type(made)):
            raise TypeError(f"{made.name} is no {type(made).__name__.lower()}")
        return found

    def gauge(
        self, name: str, documentation: str, labels: Sequence[str], read: Callable[[], Samples]
    ) -> None:
        """Show what ``read`` returns at scrape time as gauge ``name``; the last one told wins."""
        self._instruments[name] = Gauge(name, documentation, labels, read)

    def total(
        self, name: str, documentation: str, labels: Sequence[str], read: Callable[[], Samples]
    ) -> None:
        """Show what ``read`` returns at scrape time as counter ``name`` (without ``_total``)."""
        self._instruments[name] = Total(name, documentation, labels, read)

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family (the collector interface of prometheus_client)."""
        for instrument in list(self._instruments.values()):
            yield instrument.family()
