"""The dashboards of ops/grafana: well made, and each expression has something to show in a system that works.

The whole runs as people run it (`callboard up`), beside a second edge of two workers, is put to work on every path, and is
scraped by a real Prometheus. Where `CALLBOARD_TEST_PANELS` names a file, the table of expressions and values is written there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from aiohttp import web

from ops.dashboards.write import FOLDER, files
from ops.process.http import request
from ops.process.ports import is_free
from router.nats.embedded import free_port
from tests.e2e.tree import RunningCallboard, running_tree
from tests.ops.command import running
from tests.ops.prometheus import COMPARED, Server, program, prometheus, rules
from tests.waiting import PATIENCE, eventually

MADE = files()
PANELS = [
    (name, panel)
    for name, text in MADE.items()
    for panel in json.loads(text)["panels"]
    if panel["type"] != "row"
]  # fmt: skip
NAMES = re.compile(r"\b(?:edge|actors|router|ops|process|callboard:|up\b|ALERTS\b)[a-z0-9_:]*")
WORDS = re.compile(r'"[^"]*"|by \([^)]*\)')


def test_the_files_are_what_the_code_makes() -> None:
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}

    assert there == dict(MADE), "run `make manifests`"


def test_every_panel_has_a_title_a_meaning_a_unit_and_the_variables() -> None:
    for name, panel in PANELS:
        assert panel["title"] and panel["description"].endswith("."), (name, panel["title"])
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            if not re.search(r"\b(up|ALERTS)\{", target["expr"]):
                assert '$namespace"' in target["expr"] and '$instance"' in target["expr"], target["expr"]


def test_ids_are_unique_and_panels_do_not_overlap() -> None:
    uids = [json.loads(text)["uid"] for text in MADE.values()]
    assert len(set(uids)) == len(uids)
    for text in MADE.values():
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not taken & cells
            taken |= cells


def test_counters_are_only_shown_as_rates() -> None:
    for _, panel in PANELS:
        for target in panel["targets"]:
            for found in re.finditer(
                r"[a-z_]+_(?:total|bucket|count)\{[^}]*\}(\[\$__rate_interval\])?", target["expr"]
            ):
                assert found[1], target["expr"]


# What is shown of a system that runs


@dataclass(frozen=True)
class Shown:
    """A Prometheus that has watched a busy system, and the second edge of it."""

    server: Server
    workers: str


def _block(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = free_port()
        if first + count < 65536 and all(is_free("127.0.0.1", first + place) for place in range(count)):
            return first


@asynccontextmanager
async def _receiver(status: int) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class Load:
    """What keeps every path of the system busy."""

    def __init__(self, edges: list[httpx.AsyncClient]) -> None:
        self.edges = edges
        self.first = edges[0]
        self.rounds = 0

    async def session(self, **body: Any) -> str:
        made = await self.first.post("/callbacks/sessions", json={"subjects": ["job.load.>"], **body})
        assert made.status_code == 201, made.text
        return str(made.json()["session_id"])

    async def publish(self) -> None:
        while True:
            self.rounds += 1
            for edge in self.edges:
                events: list[dict[str, Any]] = [
                    {"subject": "job.load.progress", "data": {"progress": self.rounds % 100 / 100}} for _ in range(20)
                ]
                figure = {
                    "subject": "metric.load.live_metric_update",
                    "data": {"metric": "rounds", "value": self.rounds},
                }
                log = {"subject": "job.load.log", "data": {"text": "x"}}
                answer = await edge.post("/events", json=[*events, figure, log])
                assert answer.status_code in (200, 201, 202), answer.text
            await asyncio.sleep(0.05)

    async def listen(self, session: str, edge: httpx.AsyncClient, query: str = "") -> None:
        """Reads a WebSocket, and comes back now and then: at its cursor, from the beginning, or fresh."""
        cursor, turn = "earliest", 0
        while True:
            url = f"{str(edge.base_url).replace('http', 'ws')}/callbacks/sessions/{session}/ws?cursor={cursor}{query}"
            async with websockets.connect(url, max_queue=None, open_timeout=PATIENCE) as socket:
                for _ in range(150):
                    cursor = json.loads(await socket.recv()).get("cursor", cursor)
            turn += 1

    async def stream(self, session: str, edge: httpx.AsyncClient) -> None:
        """Reads SSE, and begins anew every two seconds."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self.look(f"/callbacks/sessions/{session}/sse?cursor=earliest", edge)

    async def poll(self, session: str) -> None:
        cursor = "earliest"
        while True:
            answer = await self.first.get(
                f"/callbacks/sessions/{session}/events", params={"cursor": cursor, "wait": 5, "limit": 200}
            )
            cursor = answer.json()["next"]

    async def look(self, path: str, edge: httpx.AsyncClient | None = None) -> None:
        """Reads an answer that has no end."""
        url = (edge or self.first).base_url
        assert url.port
        while True:
            reader, writer = await asyncio.open_connection(url.host, url.port)
            try:
                writer.write(request(url.host, url.port, path))
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
            await asyncio.sleep(0.5)

    async def err(self) -> None:
        """Asks for what there is not, and sends dead letters again."""
        while True:
            await self.first.get("/callbacks/sessions/nobody")
            await self.first.post("/events", content=b"{")
            await self.first.post("/deadletters/redrive", json={"all": True, "force": True, "limit": 3})
            await asyncio.sleep(1)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A busy system, watched until each path has been taken."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("dashboards")
    inside, workers_inside, workers_port = _block(6), free_port(), free_port()
    with (
        running_tree(
            folder, INTERNAL_PORT=str(inside), WEBHOOK_ALLOW_LOOPBACK="true", WEBHOOK_ALLOW_HTTP="true"
        ) as tree,
        prometheus(
            folder,
            {"callboard-edge": [inside, workers_inside], "callboard-actors": [inside + place for place in range(1, 6)]},
        ) as server,
    ):
        asyncio.run(_work(tree, server, workers_inside, workers_port))
        yield Shown(server, f"127.0.0.1:{workers_inside}")


async def _work(tree: RunningCallboard, server: Server, workers_inside: int, workers_port: int) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            running(
                "edge", "--workers", "2", "--port", str(workers_port), NATS_URL=tree.nats_url,
                INTERNAL_PORT=str(workers_inside), WEBHOOK_ALLOW_LOOPBACK="true", WEBHOOK_ALLOW_HTTP="true",
            )
        )  # fmt: skip
        urls = [tree.url, f"http://127.0.0.1:{workers_port}"]
        edges = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE)) for url in urls]

        async def ready() -> bool:
            try:
                return (await edges[1].get("/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await eventually(ready)
        load = Load(edges)
        well, ill = [await stack.enter_async_context(_receiver(status)) for status in (204, 503)]
        await load.session(delivery_method="webhook", webhook_url=well)
        await load.session(
            delivery_method="webhook", webhook_url=ill, events=["log"], retry_attempts=1, retry_profile="fast"
        )
        socket, sse, polling = [await load.session() for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            work = [
                load.publish(),
                load.listen(socket, edges[0]),
                load.listen(socket, edges[1]),
                load.listen(socket, edges[1], "&conflate=true&max_rate=5"),
                load.stream(sse, edges[0]),
                load.stream(sse, edges[1]),
                load.poll(polling),
                load.look("/cameras/main/mjpeg"),
                load.look("/octane/main/mjpeg"),
                load.err(),
            ]
            tasks = [group.create_task(each) for each in work]
            try:
                await eventually(lambda: _all_paths_taken(server), 400)
                server.moment = time.time()
            finally:
                for task in tasks:
                    task.cancel()


def _all_paths_taken(server: Server) -> bool:
    empty = [expr for expr in dict.fromkeys(_expressions()) if not _shown(server, expr)]
    assert not empty, empty[:5]
    return True


def _filled(expr: str) -> str:
    """An expression as Grafana asks it."""
    for name, value in (("$__rate_interval", "1m"), ("$namespace", ".*"), ("$instance", ".*")):
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def _expressions() -> list[str]:
    panels = [_filled(target["expr"]) for _, panel in PANELS for target in panel["targets"]]
    return panels + [_left(rule) for rule in rules()]


def _left(rule: dict[str, Any]) -> str:
    """What a rule looks at; an alert without its threshold, for that is not reached in a system that is well."""
    expr = str(rule["expr"])
    found = COMPARED.match(expr) if "alert" in rule else None
    # Of what happened in a quarter of an hour there is something after two looks.
    return found["left"] if found else expr


def _shown(server: Server, expr: str) -> list[float]:
    return [value for value in server.value(expr) if not math.isnan(value)]


@pytest.mark.slow
def test_every_expression_of_panels_and_rules_has_something_to_show(shown: Shown) -> None:
    known = set(shown.server.api("label/__name__/values"))
    table, unknown, empty = [], {}, []
    places = [
        *((f"{name[:-5]}: {panel['title']}", _filled(target["expr"])) for name, panel in PANELS for target in panel["targets"]),
        *((rule.get("alert") or rule["record"], _left(rule)) for rule in rules()),
    ]  # fmt: skip

    for place, expr in places:
        names = set(NAMES.findall(WORDS.sub("", expr))) - {"ALERTS"}
        unknown.update({name: place for name in names if name not in known})
        values = _shown(shown.server, expr)
        if not values:
            empty.append((place, expr))
        table.append(
            f"| {place} | `{expr}` | {len(values)} | {', '.join(f'{value:.4g}' for value in sorted(values)[-3:])} |"
        )

    if path := os.environ.get("CALLBOARD_TEST_PANELS"):
        Path(path).write_text(
            "| where | expression | series | highest |\n|---|---|---|---|\n" + "\n".join(table) + "\n"
        )
    assert len(places) > 150
    assert not unknown
    assert not empty


@pytest.mark.slow
def test_every_worker_is_seen_by_one_target_and_told_apart(shown: Shown) -> None:
    one = f'instance="{shown.workers}"'

    assert shown.server.value(f"count(count by (worker) (edge_readers{{{one}}}))") == [2.0]
    assert shown.server.value(f"count(process_resident_memory_bytes{{{one}}})") == [2.0]
    delivered = shown.server.value(f"sum by (worker) (edge_delivered_events_total{{{one}}})")
    assert sum(delivered) == pytest.approx(shown.server.value(f"sum(edge_delivered_events_total{{{one}}})")[0])
    assert shown.server.value("sum(edge_webhook_fanout_owner)") == [1.0]


@pytest.mark.slow
def test_the_hops_of_one_event_follow_one_another(shown: Shown) -> None:
    means = [
        shown.server.value(f"sum({name}_sum) / sum({name}_count)")[0]
        for name in ("router_publish_to_store_seconds", "edge_publish_to_receive_seconds", "edge_publish_to_acknowledge_seconds")
    ]  # fmt: skip

    assert 0 < means[0] < 300 and 0 < means[1] < 300
    assert means[2] > means[1] / 10


@pytest.mark.slow
def test_no_alert_fires_that_should_not(shown: Shown) -> None:
    firing = shown.server.query('ALERTS{alertstate="firing"}')["result"]

    assert {each["metric"]["alertname"] for each in firing} <= {"CallboardDeadLetters", "CallboardEventsMissed"}
