"""A real process sends its spans to a collector, and does not depend on one."""

import asyncio
import gzip
import socket
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bellwire.db.engine import open_engine
from bellwire.db.migrate import upgrade
from bellwire.kit.http import GuardedClient
from bellwire.serve import serve
from bellwire.settings import Settings, SettingsError
from tests.support.deliveries import Hub
from tests.support.process import HubProcess
from tests.support.served import served


class Collector:
    """Takes OTLP over HTTP, and deliveries besides."""

    def __init__(self) -> None:
        self.spans: list[str] = []
        self.services: set[str] = set()
        self.delivered = asyncio.Event()

    async def traces(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.services.add(names["service.name"])
            self.spans += [span.name for scope in resource.scope_spans for span in scope.spans]
        return Response(media_type="application/x-protobuf")

    async def hook(self, request: Request) -> Response:
        await request.body()
        self.delivered.set()
        return Response()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/traces", self.traces, methods=["POST"]),
                Route("/hook", self.hook, methods=["POST"]),
            ]
        )


async def prepare(folder: Path, url: str) -> None:
    engine = open_engine(f"sqlite:///{folder / 'bellwire.db'}")
    upgrade(engine)
    engine.dispose()
    client = GuardedClient()
    hub = Hub(folder, client, Settings(data_dir=folder))
    hub.emit(hub.webhook(f"{url}/hook"))
    await client.close()
    hub.writer.close()
    hub.engine.dispose()


def deliver_once(folder: Path, *, collector_at: str = "") -> Collector:
    """Start a hub with tracing on, let it deliver one event, and stop it as an operator would."""
    collector = Collector()

    async def run() -> None:
        async with asyncio.timeout(90), served(collector.app()) as url:
            await prepare(folder, url)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            hub = HubProcess(
                folder,
                port=port,
                environment={
                    "BELLWIRE_ALLOW_PRIVATE_ADDRESSES": "true",
                    "BELLWIRE_OTEL": "true",
                    "BELLWIRE_DRAIN_S": "0",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": collector_at or url,
                    "OTEL_BSP_SCHEDULE_DELAY": "600000",  # so that what arrives was sent by the stop
                },
            )
            try:
                await hub.start()
                await collector.delivered.wait()
                assert await hub.stop() == 0
            finally:
                await hub.kill()

    asyncio.run(run())
    return collector


def test_what_is_left_is_sent_before_the_end(tmp_path: Path) -> None:
    collector = deliver_once(tmp_path)
    assert "deliver webhook" in collector.spans
    assert collector.services == {"bellwire"}


def test_collector_that_is_down_holds_up_nothing(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        collector = deliver_once(tmp_path, collector_at=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert collector.spans == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bellwire.observe.otel", None)
    with pytest.raises(SettingsError, match=r"bellwire\[otel\]"):
        serve(Settings(data_dir=tmp_path, port=0, otel=True))
