"""Sends spans to an OpenTelemetry collector. Needs the extra `otel`; everything else is set by its own `OTEL_*` variables.

The SDK's samplers and batches are used, its tracers are not: they give spans ids of their own.
"""

import os
import threading
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from bellwire.observe import tracing
from bellwire.observe.tracing import Ref, Span

_FLUSH_WITHIN_S = 3.0
_KINDS = {kind.name.lower(): kind for kind in SpanKind}
_OK, _FAILED = Status(), Status(StatusCode.ERROR)


class Exporting:
    """From `start` to `stop` spans go out: in batches over OTLP, or each at once to the `exporter` of a test."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        provider = TracerProvider(resource=Resource.create(_named()), shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._resource = provider.resource
        self._scope = InstrumentationScope("bellwire", version("bellwire"))
        self._processor: SpanProcessor = (
            BatchSpanProcessor(OTLPSpanExporter()) if exporter is None else SimpleSpanProcessor(exporter)
        )

    def start(self) -> None:
        tracing.send_to(self._send)

    def stop(self) -> None:
        """Send what is left, for a moment at most: a collector that is down holds up no stop."""
        tracing.send_to(None)
        ending = threading.Thread(target=self._processor.shutdown, name="bellwire-spans", daemon=True)
        ending.start()
        ending.join(_FLUSH_WITHIN_S)

    def _send(self, span: Span) -> None:
        sampled = self._sampler.should_sample(None, span.ref.trace, span.name).decision.is_sampled()
        if not sampled:  # decided by the trace alone, so that all processes decide alike
            return
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.ref),
                parent=None if span.parent is None else _context(span.parent),
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_context(ref)) for ref in span.links],
                kind=_KINDS[span.kind],
                status=_FAILED if span.failed else _OK,
                start_time=span.start_ns,
                end_time=max(span.start_ns, span.end_ns),
                instrumentation_scope=self._scope,
            )
        )


def _context(ref: Ref) -> SpanContext:
    return SpanContext(ref.trace, ref.span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _named() -> dict[str, str]:
    """What the service is called, unless the environment says it."""
    elsewhere = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if elsewhere else {"service.name": "bellwire"}
