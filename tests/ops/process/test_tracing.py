"""Traces: one shows every hop of an event, over processes, in a collector that speaks OTLP; and without one nothing is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from ops.process.http import request
from ops.process.tracing import TracingSettings
from ops.settings import Mistakes, Settings
from router import tracing
from tests.ops.command import ROOT, environment, up
from tests.waiting import PATIENCE, eventually

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = PARENT.split("-")[1]


class Collector:
    """A collector on a real socket, which is a webhook's receiver too."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = defaultdict(list)
        self.services: set[str] = set()
        self.posted: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        for resource in told.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.instance.role"
            }
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans[span.trace_id.hex()].append(span)
        return web.Response()

    async def hook(self, request: web.Request) -> web.Response:
        self.posted.append(request.headers.get("traceparent", ""))
        return web.Response()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Collector]:
        app = web.Application()
        app.router.add_post("/v1/traces", self.take)
        app.router.add_post("/hook", self.hook)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def _reader(edge: httpx.AsyncClient, session: str) -> AsyncIterator[asyncio.StreamReader]:
    """Reads SSE, live, while the block runs."""
    host, port = edge.base_url.host, edge.base_url.port
    assert port
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request(host, port, f"/callbacks/sessions/{session}/sse"))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"event: ready")
        yield reader
    finally:
        writer.close()


async def test_one_trace_shows_every_hop_from_the_producer_to_the_readers(tmp_path: Path) -> None:
    async with (
        Collector().listening() as collector,
        up(tmp_path, "--only", "edge,agent", OTEL_ENDPOINT=f"{collector.url}/v1/traces"),
        httpx.AsyncClient(base_url=(tmp_path / "edge.url").read_text().strip(), timeout=PATIENCE) as edge,
    ):
        hook = {"delivery_method": "webhook", "webhook_url": f"{collector.url}/hook", "subjects": ["agent.traced.>"]}
        assert (await edge.post("/callbacks/sessions", json=hook)).status_code == 201
        session = (await edge.post("/callbacks/sessions", json={"subjects": ["agent.traced.>"]})).json()["session_id"]
        async with _reader(edge, session) as reader:
            published = await edge.post(
                "/events",
                json={"subject": "agent.traced.progress", "data": {"progress": 0.5}},
                headers={"traceparent": PARENT},
            )
            assert published.status_code == 201
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(published.json()["id"].encode())

            def names() -> set[str]:
                return {span.name for span in collector.spans[TRACE]}

            wanted = {"publish", "store", "hear", "deliver", "receive", "webhook"}

            def all_there() -> bool:
                assert wanted <= names(), names()
                return True

            await eventually(all_there)

        spans = {span.span_id.hex(): span for span in collector.spans[TRACE]}
        event = published.json()["id"]
        about = {
            span.name: {each.key: each.value for each in span.attributes}
            for span in spans.values()
            if any(each.value.string_value == event for each in span.attributes)
        }
        assert {"store", "hear", "deliver", "receive"} <= about.keys()
        assert about["deliver"]["readers"].int_value == 1
        assert about["receive"]["actor"].string_value == "agent"
        # What the agent said of it hangs under its own span; and each span under another of this trace, or the caller's.
        receives = {key for key, span in spans.items() if span.name == "receive"}
        assert any(span.parent_span_id.hex() in receives and span.name == "store" for span in spans.values())
        assert all(span.parent_span_id.hex() in {*spans, PARENT.split("-")[2]} for span in spans.values())
        assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
        assert collector.services == {"edge", "actor agent"}
        # The receiver goes on with the trace, under the attempt.
        assert {tracing.trace_id(posted) for posted in collector.posted} == {TRACE}
        attempts = {key for key, span in spans.items() if span.name == "webhook"}
        assert {posted.split("-")[2] for posted in collector.posted} & attempts


async def test_a_trace_that_was_not_chosen_leaves_no_span_and_is_passed_on(tmp_path: Path) -> None:
    parent = PARENT.removesuffix("01") + "00"
    async with (
        Collector().listening() as collector,
        up(tmp_path, "--only", "edge", OTEL_ENDPOINT=f"{collector.url}/v1/traces"),
        httpx.AsyncClient(base_url=(tmp_path / "edge.url").read_text().strip(), timeout=PATIENCE) as edge,
    ):
        hook = {"delivery_method": "webhook", "webhook_url": f"{collector.url}/hook", "subjects": ["agent.quiet.>"]}
        assert (await edge.post("/callbacks/sessions", json=hook)).status_code == 201
        for headers in ({"traceparent": parent}, {}):
            await edge.post("/events", json={"subject": "agent.quiet.progress", "data": {}}, headers=headers)

        await eventually(lambda: len(collector.posted) == 2)
        # The trace that began here is recorded, and comes by the same way.
        await eventually(lambda: any(span.name == "publish" for spans in collector.spans.values() for span in spans))
    assert TRACE not in collector.spans
    assert TRACE in {tracing.trace_id(posted) for posted in collector.posted}


def test_where_it_is_not_configured_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, ops.process.roles, ops.process.tracing, edge.server, actors.system.supervisor\n"
        "with ops.process.tracing.recording(ops.process.tracing.TracingSettings(), 'edge'): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment()
    )

    assert done.stdout.strip() == "[]"


def test_where_it_is_not_installed_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.process.tracing import recording

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with (
        pytest.raises(Mistakes, match=r"callboard\[otel\]"),
        recording(TracingSettings("http://127.0.0.1:4318/v1/traces"), "edge"),
    ):
        pass


@pytest.mark.parametrize(("name", "text"), [("SHARE", "2"), ("ENDPOINT", "collector:4318")])
def test_settings_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"CALLBOARD_OTEL_{name}", text)

    with pytest.raises(Mistakes, match=name):
        Settings.load()


def test_a_child_keeps_its_trace_and_whether_it_is_recorded() -> None:
    child = tracing.begin(PARENT)

    assert tracing.trace_id(child) == TRACE and child != PARENT and tracing.sampled(child)
    assert not tracing.sampled(tracing.begin(PARENT.removesuffix("01") + "00"))
    # Nobody records here, so what begins here is not chosen.
    assert not tracing.sampled(tracing.begin())
    assert tracing.trace_id(tracing.begin("no trace at all")) not in (None, TRACE)
