"""Counters and histograms as Prometheus reads them."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bellwire.kit.metrics import Counter, Histogram

BOUNDS = (1, 5, 100)


def samples(collectors: Iterable[Collector]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scraper understands."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    text = generate_latest(registry).decode()
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_counter() -> None:
    counter = Counter("things_total", "Things.", ("kind",))
    counter.add(2, "a")
    counter.add_all([("a",), ("b",), ("a",)])
    found = samples([counter])
    assert found[("things_total", (("kind", "a"),))] == 4
    assert found[("things_total", (("kind", "b"),))] == 1
    assert (counter.value("a"), counter.value("c")) == (4, 0)


def test_histogram_that_takes_milliseconds_shows_seconds() -> None:
    histogram = Histogram("waits_seconds", "Waits.", ("who",), bounds=(1, 500, 2000), scale=1000)
    histogram.observe_all([0, 1, 2, 500, 501, 9000], "x")
    found = samples([histogram])
    buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_bucket")}
    assert buckets == {"0.001": 2, "0.5": 4, "2.0": 5, "+Inf": 6}
    assert found[("waits_seconds_sum", (("who", "x"),))] == 10.004
    assert found[("waits_seconds_count", (("who", "x"),))] == 6 == histogram.count("x")


def test_clock_that_was_set_back_leaves_sums_that_only_grow() -> None:
    histogram = Histogram("waits_seconds", "Waits.", bounds=(1,))
    histogram.observe_all([3, -1000])
    assert samples([histogram])[("waits_seconds_sum", ())] == 3


@given(st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=20), max_size=5))
def test_batches_count_as_their_values(batches: list[list[int]]) -> None:
    whole, apart = (Histogram("sizes", "Sizes.", bounds=BOUNDS) for _ in range(2))
    for batch in batches:
        whole.observe_all(batch)
        for value in batch:
            apart.observe(value)
    found = samples([whole])
    assert found == samples([apart])
    values = [value for batch in batches for value in batch]
    for bound in BOUNDS:
        expected = sum(value <= bound for value in values) if values else None
        assert found.get(("sizes_bucket", (("le", f"{bound}.0"),))) == expected
