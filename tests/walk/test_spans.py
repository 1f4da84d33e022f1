"""One event's walk as spans: the whole hub, real HTTP, and the SDK's own exporter."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bellwire.observe import tracing
from bellwire.observe.otel import Exporting
from tests.support.rude_server import rude_server
from tests.support.world import World, live


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    exporting = Exporting(memory)
    exporting.start()
    yield memory
    exporting.stop()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def inside(exporter: InMemorySpanExporter, parent: ReadableSpan) -> list[str]:
    """Names of a span's children in the order in which they began."""
    found = [
        span
        for span in exporter.get_finished_spans()
        if span.parent is not None and parent.context is not None and span.parent.span_id == parent.context.span_id
    ]
    return [span.name for span in sorted(found, key=lambda span: span.start_time or 0)]


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def test_from_the_notification_to_the_record(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        it.apple.purchase("pro_monthly")
        await it.settle()
        [event] = it.events()
        [door] = [one for one in named(exporter, "receive notification") if inside(exporter, one)]
        assert inside(exporter, door) == ["verify", "commit", "apply notification"]
        [apply] = named(exporter, "apply notification")
        assert trace_id(apply) == trace_id(door)
        assert inside(exporter, apply)[-1] == "commit"
        [root] = named(exporter, "event INITIAL_PURCHASE")
        assert f"{trace_id(root):032x}" == event["id"].replace("-", "").lower()
        assert [link.context for link in root.links] == [apply.context]
        [deliver] = named(exporter, "deliver webhook")
        assert trace_id(deliver) == trace_id(root)
        assert deliver.parent is not None
        assert root.context is not None
        assert deliver.parent.span_id == root.context.span_id
        assert inside(exporter, deliver) == ["claim", "wait for a slot", "build", "send", "record"]
        for span in exporter.get_finished_spans():
            assert (span.start_time or 0) <= (span.end_time or 0)

    live(tmp_path, scene)


def test_receipt_is_linked_to_its_events(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        await it.settle()
        [receipt] = named(exporter, "post receipt")
        assert inside(exporter, receipt) == ["prove", "commit"]
        [root] = named(exporter, "event INITIAL_PURCHASE")
        assert [link.context for link in root.links] == [receipt.context]

    live(tmp_path, scene, track_new_purchases=False)


def test_every_attempt_has_its_span(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        it.statuses["hook"] = 500
        assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
        await it.settle()
        [event] = it.events()
        [integration] = it.hub.config.current().integrations.values()
        await it.hub.delivery.retry(it.project_id, integration.id, event_seq=1)
        async with asyncio.timeout(10):
            while len(named(exporter, "deliver webhook")) < 2:
                await asyncio.sleep(0.005)
        first, second = named(exporter, "deliver webhook")
        assert first.context != second.context
        for span in (first, second):
            assert span.attributes is not None
            assert span.attributes["bellwire.outcome"] == "retry"
            assert span.attributes["http.response.status_code"] == 500
            assert span.attributes["bellwire.event_id"] == event["id"]
            assert not span.status.is_ok
        assert inside(exporter, second) == ["wait for a slot", "build", "send", "record"]

    live(tmp_path, scene, track_new_purchases=False)


def test_spans_tell_no_names_and_no_bodies(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        secret = "ann@example.com"
        assert await it.post(it.apple, it.apple.purchase("pro_monthly"), secret) == 200
        await it.settle()
        spans = exporter.get_finished_spans()
        assert spans
        for span in spans:
            assert secret not in span.to_json()
            assert it.apple_app.token not in span.to_json()
            for name in span.attributes or {}:
                assert name.startswith(("bellwire.", "http.", "error.")), name

    live(tmp_path, scene)


def test_receiver_can_join_in(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as server:
            await it.webhook("traced", url=f"{server.base_url}/in")
            assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
            await it.settle()
            [request] = server.to("/in")
            version, trace, span, flags = request.headers["traceparent"].split("-")
            sent = {one.context.span_id: one for one in named(exporter, "send") if one.context is not None}
            assert trace_id(sent[int(span, 16)]) == int(trace, 16)
            assert (version, flags) == ("00", "01")

    live(tmp_path, scene, track_new_purchases=False, send_traceparent=True)


def test_nobody_is_told_of_traces_unasked(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    async def scene(it: World) -> None:
        async with rude_server() as server:
            await it.webhook("plain", url=f"{server.base_url}/in")
            assert await it.post(it.apple, it.apple.purchase("pro_monthly")) == 200
            await it.settle()
            [request] = server.to("/in")
            assert not {"traceparent", "tracestate", "baggage"} & request.headers.keys()

    live(tmp_path, scene, track_new_purchases=False)


def test_sampling_decides_by_the_trace_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that processes that have never met keep or drop the same traces."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    kept: list[set[int]] = []
    for _ in range(2):
        memory = InMemorySpanExporter()
        exporting = Exporting(memory)
        exporting.start()
        for number in range(400):
            ref = tracing.entry_ref(number)
            tracing.record(tracing.Span(name="one", ref=ref, start_ns=1, end_ns=2))
            tracing.record(tracing.Span(name="two", ref=tracing.inside(ref, "two"), parent=ref, start_ns=1, end_ns=2))
        exporting.stop()
        spans = memory.get_finished_spans()
        for name in ("one", "two"):
            kept.append({trace_id(span) for span in spans if span.name == name})
    assert all(found == kept[0] for found in kept)
    assert 100 < len(kept[0]) < 300


def test_service_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def name() -> object:
        memory = InMemorySpanExporter()
        exporting = Exporting(memory)
        exporting.start()
        tracing.record(tracing.Span(name="one", ref=tracing.entry_ref(1), start_ns=1, end_ns=2))
        exporting.stop()
        return memory.get_finished_spans()[0].resource.attributes["service.name"]

    assert name() == "bellwire"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "hub-eu")
    assert name() == "hub-eu"
