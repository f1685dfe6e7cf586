"""Alerts are posted to a real Alertmanager, which posts them to us: what fires, again at intervals, and what has ended."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from actors.alerts.alertmanager import AlertmanagerFeed, AlertmanagerSettings, shape
from router.alerts import ALERTMANAGER, AlertRecord, act, fire, resolve
from router.clock import wall
from router.codec import rfc3339
from router.nats.embedded import free_port
from tests import parts
from tests.edge.conftest import RunningEdge, edge, edge_factory  # noqa: F401
from tests.router.firings import found
from tests.waiting import PATIENCE, eventually

S = 1_000_000_000


class Known(dict[str, AlertRecord]):
    """The alerts of a store, and the feed that is told of their changes."""

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__()
        chosen = AlertmanagerSettings((url,), **settings)
        self.feed = AlertmanagerFeed(url, chosen, lambda: self)

    def put(self, record: AlertRecord | None) -> None:
        assert record is not None
        self[record.id] = record
        self.feed.change(record)

    @contextlib.asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.feed.run(lambda: None))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def fired(rule: str, key: str = "k") -> AlertRecord:
    return fire(None, found(rule, key, value=91.5), wall.now_ns())


def test_labels_stay_the_same_over_all_episodes_and_the_end_lies_ahead_while_it_fires() -> None:
    settings = AlertmanagerSettings(("http://am",), external_url="https://callboard.example/")
    record, now = fired("hot"), wall.now_ns()
    shaped = shape(record, now, settings)
    assert shaped["labels"] == {
        "alertname": "hot",
        "severity": "warning",
        "category": "general",
        "entity": "lab",
        "key": "k",
        "source": "callboard",
    }
    assert (shaped["annotations"]["summary"], shaped["annotations"]["value"]) == ("hot", "91.5")
    assert shaped["generatorURL"] == f"https://callboard.example/alerts/{record.id}"
    assert shaped["startsAt"] < shaped["endsAt"]

    ended = resolve(record, now, now, "resolve_when")
    assert ended is not None
    again = shape(ended, now + S, settings)
    assert again["labels"] == shaped["labels"] and again["endsAt"] < shaped["endsAt"]
    future = shape(fire(None, found("hot", at=now + 10**9 * S), now), now, settings)
    assert future["startsAt"] < future["endsAt"]


def test_an_address_that_is_none_is_refused_at_the_start() -> None:
    for settings in ({"urls": ("localhost:9093",)}, {"resend": 0.1}, {"timeout": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            AlertmanagerSettings(**settings)  # type: ignore[arg-type]


async def test_an_alertmanager_that_is_away_gets_all_that_was_missed_and_our_guests_are_not_sent_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    posts: list[list[dict[str, Any]]] = []
    statuses = [503, 503, 200]

    async def take(request: web.Request) -> web.Response:
        status = statuses.pop(0) if statuses else 200
        if status == 200 and (given := await request.json()):
            posts.append(given)
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/api/v2/alerts", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    known = Known(f"http://us:secret@127.0.0.1:{port}/", resend=1.0)
    record = fired("hot")
    known.put(record)
    known.put(fired(ALERTMANAGER))
    try:
        async with known.posting():
            known.put(resolve(fired("warm"), wall.now_ns(), wall.now_ns(), "resolve_when"))
            await eventually(lambda: known.feed.describe()["fault"])
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await eventually(lambda: posts)
            assert known.feed.describe()["fault"] is None and known.feed.describe()["taken"]
            # A log that repeats itself with each retry hides what else is in it; the connection, 503, and that it is over.
            told = [(each.message, vars(each)["alertmanager"]) for each in caplog.records]
            assert [text.partition(";")[0] for text, _ in told] == [
                "Alertmanager cannot be reached",
                "Alertmanager cannot take alerts now",
                "Alertmanager takes alerts again",
            ]
            assert {where for _, where in told} == {f"http://127.0.0.1:{port}/"}, "without the credentials"
            assert sorted(each["labels"]["alertname"] for each in posts[0]) == ["hot", "warm"]
            # What fires is posted again, what has ended is not; what is dismissed has ended.
            await eventually(lambda: [each["labels"]["alertname"] for each in posts[-1]] == ["hot"])
            known.put(act(record, "dismiss", "alice", wall.now_ns()))
            await eventually(lambda: [each["annotations"]["callboard_state"] for each in posts[-1]] == ["dismissed"])
            assert posts[-1][0]["endsAt"] < posts[0][0]["endsAt"]
    finally:
        await runner.cleanup()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real Alertmanager's address, and its configuration, which may be changed and loaded again."""
    program = parts.program(parts.ALERTMANAGER)
    config, address = tmp_path / "alertmanager.yml", f"127.0.0.1:{free_port()}"
    config.write_text(CONFIG.format(port=1))
    arguments = [f"--config.file={config}", f"--storage.path={tmp_path / 'am'}", f"--web.listen-address={address}"]
    with subprocess.Popen(
        [program, *arguments, "--cluster.listen-address="], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://{address}", config
        finally:
            process.kill()


CONFIG = """
route: {{receiver: callboard, group_by: [alertname, key], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: callboard
    webhook_configs: [{{url: "http://127.0.0.1:{port}/alerts/alertmanager", send_resolved: true}}]
"""


async def test_a_real_alertmanager_takes_our_alerts_and_posts_its_own_to_us(
    alertmanager: tuple[str, Path],
    edge: RunningEdge,  # noqa: F811
    entity: str,
) -> None:
    url, config = alertmanager
    config.write_text(CONFIG.format(port=edge.port))
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:

        async def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await http.get("/-/ready")).status_code == 200
            return False

        await eventually(ready)
        assert (await http.post("/-/reload")).status_code == 200

        async def shown(rule: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await http.get(f"/api/v2/alerts?filter=alertname%3D{rule}")).json()
            return found

        known = Known(url)
        record = fired(entity)
        known.put(record)
        async with known.posting():
            await eventually(lambda: shown(entity))
            [alert] = await shown(entity)
            assert alert["annotations"]["callboard_id"] == record.id
            known.put(resolve(record, wall.now_ns(), wall.now_ns(), "resolve_when"))
            await eventually(lambda: _none(shown(entity)))

        async def listed(state: str) -> list[dict[str, Any]]:
            answer = await edge.http.get(f"/alerts?rule={ALERTMANAGER}&state={state}&entity={entity}")
            found: list[dict[str, Any]] = answer.json()["alerts"]
            return found

        theirs = {"labels": {"alertname": "DiskFull", "instance": entity, "severity": "critical"}}
        notes = {"annotations": {"summary": "The disk is full"}, "generatorURL": "http://prometheus:9090/graph"}
        assert (await http.post("/api/v2/alerts", json=[{**theirs, **notes}])).status_code == 200
        await eventually(lambda: listed("firing"))
        [taken] = await listed("firing")
        assert (taken["title"], taken["severity"]) == ("The disk is full", "critical")
        assert taken["labels"]["alertname"] == "DiskFull"
        await http.post("/api/v2/alerts", json=[{**theirs, **notes, "endsAt": rfc3339(wall.now_ns())}])
        await eventually(lambda: listed("resolved"))
        # Our own, which it posts to us as well, did not become a second alert.
        assert (await edge.http.get(f"/alerts?rule={ALERTMANAGER}&entity=lab")).json()["alerts"] == []


async def _none(found: Any) -> bool:
    return not await found
