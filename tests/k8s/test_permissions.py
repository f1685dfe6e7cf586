"""Least privilege on a real nats-server with the files of k8s/base/nats: the whole system plays under its own users
without one violation, and what none of them needs is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import websockets
from aiohttp import web

from router import provisioning, topology
from router.broker import Broker
from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.topology import TopologySettings
from tests.k8s.cast import USERS, House, open_house
from tests.ops.command import Running, callboard, running
from tests.servers import refusal
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """NATS as it is deployed, its streams made by the user who may."""
    with open_house(tmp_path_factory.mktemp("nats")) as opened:
        done = callboard("streams", "apply", **{**opened.env("streams"), "APPLY_STREAMS": "true"})
        assert done.returncode == 0, done.stderr + "\n".join(opened.server.violations)
        yield opened


class Receiver:
    """A webhook's endpoint that takes what comes, except at /gone."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/{way}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if request.match_info["way"] == "refuse":
            return web.Response(status=400)
        if request.match_info["way"] == "later" and not self.refused:
            self.refused += 1
            return web.Response(status=503)
        self.bodies.append(await request.json())
        return web.Response(status=204)


# A render of a second.
_QUICK_RENDER = ("--width", "96", "--height", "54", "--max-samples", "100", "--samples-per-second", "100")


@contextlib.asynccontextmanager
async def system(house: House, folder: Path) -> AsyncIterator[tuple[list[httpx.AsyncClient], list[Running]]]:
    """Two edges and the whole cast, each under its own user."""
    ports = [free_port(), free_port()]
    simulator = free_port()
    async with contextlib.AsyncExitStack() as stack:
        edge = {
            **house.env("edge"),
            "WEBHOOK_ALLOW_LOOPBACK": "true",
            "WEBHOOK_ALLOW_HTTP": "true",
            "DATA_DIR": str(folder),
        }
        await stack.enter_async_context(running("simulate", "octane", "--port", str(simulator), *_QUICK_RENDER))
        parts = [await stack.enter_async_context(running("edge", "--port", str(port), **edge)) for port in ports]
        for name in ("agent", "alerts", "metrics", "camera", "octane"):
            address = {"OCTANE_ADDRESS": f"127.0.0.1:{simulator}", "OCTANE_RENDER_SETTLE": "0.2"}
            more = address if name == "octane" else {}
            parts.append(await stack.enter_async_context(running("actor", name, **house.env(name), **more)))
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False)
            )
            for port in ports
        ]
        for http in clients:
            await eventually(lambda: _ready(http))
        yield clients, parts


async def _ready(http: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get("/readyz")).status_code == 200
    return False


async def _json(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    answer = await http.request(method, path, json=body)
    assert answer.is_success, f"{method} {path}: {answer.text}"
    return answer.json() if answer.content else None


async def test_the_whole_system_plays_under_its_users_without_a_violation(house: House, tmp_path: Path) -> None:
    receiver = Receiver()
    try:
        async with receiver.running(), system(house, tmp_path) as ((one, other), _parts):
            await _everybody_is_there(house)
            await _a_session_is_read_in_every_way(one, other)
            await _webhooks_are_posted_retried_given_up_and_redriven(one, other, receiver)
            await _a_run_is_published_and_stopped(one, house)
            await _pictures_are_watched(one)
            await _an_actor_s_dead_letter_goes_back_to_it(one)
            examined = {"DATA_DIR": str(tmp_path), "EDGE_PORT": str(one.base_url.port)}
            doctor = await asyncio.to_thread(callboard, "doctor", "--json", **house.env("operator"), **examined)
            found = {finding["check"]: finding for finding in json.loads(doctor.stdout)["findings"]}
            assert {found[check]["verdict"] for check in ("nats", "streams", "edge", "sse")} == {"ok"}, doctor.stdout
    finally:
        violations = house.server.violations
        print(*violations, sep="\n")  # shown where anything failed: what was not allowed is mostly why

    assert violations == []


async def _everybody_is_there(house: House) -> None:
    from ops.process.micro import answering

    connection = Connection(house.settings("operator"), "test")
    await connection.open()
    try:
        cast = {"agent", "alerts", "metrics", "camera", "octane"}
        await eventually(lambda: _answer(answering(connection, cast, 1.0), cast))
    finally:
        await connection.close()


async def _answer(asking: Any, cast: set[str]) -> bool:
    return (await asking).keys() == cast


async def _a_session_is_read_in_every_way(one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    made = await _json(one, "POST", "/callbacks/sessions", {"subjects": ["job.read.output"]})
    path = f"/callbacks/sessions/{made['session_id']}"
    await eventually(lambda: _found(other, path))
    said = await _json(one, "POST", "/events", [{"subject": "job.read.output", "data": {"n": n}} for n in range(3)])
    cursors = [event["cursor"] for event in said["events"]]

    async with httpx_sse.aconnect_sse(other, "GET", f"{path}/sse") as source:
        seen: list[str] = []
        async for event in source.aiter_sse():
            if event.event == "message":
                seen.append(event.id)
            if len(seen) == 3:
                break
    address = str(one.base_url).replace("http", "ws", 1).rstrip("/")
    async with websockets.connect(
        f"{address}{path}/ws?cursor={cursors[0]}", proxy=None, open_timeout=PATIENCE
    ) as socket:
        heard = [await _said(socket) for _ in range(3)]
        late = await _json(other, "POST", "/events", {"subject": "job.read.output", "data": {"n": 3}})
        heard.append(await _said(socket))
    page = await _json(other, "GET", f"{path}/events?limit=10")
    await _json(one, "GET", f"{path}/stats")
    await _json(one, "GET", "/callbacks/stats")
    await _json(one, "GET", "/runs")
    await _json(one, "GET", "/alerts")
    figures = {"subject": "metric.read.campaign_metrics", "data": {"metrics": {"clicks": 3}}}
    await _json(one, "POST", "/events", figures)
    await eventually(lambda: _found(other, "/entities/read"))
    await _json(one, "GET", f"{path}/events?cursor=snapshot")
    await _json(one, "PATCH", path, {"subjects": ["job.read.>"]})
    await _json(one, "POST", f"{path}/test", {})
    assert (await other.delete(path)).status_code == 204

    assert seen == cursors
    assert [event["cursor"] for event in heard if "control" not in event] == [*cursors[1:], late["cursor"]]
    assert [event["cursor"] for event in page["events"]] == [*cursors, late["cursor"]]


async def _said(socket: websockets.ClientConnection) -> dict[str, Any]:
    """What comes next and says something: no heartbeat, and no position."""
    while (said := json.loads(await socket.recv())).get("control") in ("heartbeat", "position"):
        pass
    return said


async def _found(http: httpx.AsyncClient, path: str) -> bool:
    return (await http.get(path)).status_code == 200


async def _webhooks_are_posted_retried_given_up_and_redriven(
    one: httpx.AsyncClient, other: httpx.AsyncClient, receiver: Receiver
) -> None:
    sessions = {}
    for way in ("take", "later", "refuse"):
        body = {
            "delivery_method": "webhook",
            "webhook_url": f"{receiver.url}/{way}",
            "subjects": [f"job.hook-{way}.>"],
            "retry_attempts": 2,
        }
        sessions[way] = (await _json(one, "POST", "/callbacks/sessions", body))["session_id"]
    for way in sessions:
        await _json(other, "POST", "/events", {"subject": f"job.hook-{way}.output", "data": {"way": way}})

    def posted() -> bool:
        text = json.dumps(receiver.bodies)
        return '"take"' in text and '"later"' in text

    await eventually(posted)
    # The state that the agent actor says of the run is refused, too, sooner or later.
    letter, *_ = await eventually(lambda: _letters(one, sessions["refuse"]))
    job = await _json(other, "POST", "/deadletters/redrive", {"id": letter["id"], "force": True})
    await eventually(lambda: _is_over(one, job["id"]))
    await _json(one, "GET", "/deadletters/summary")
    for session in sessions.values():
        assert (await one.delete(f"/callbacks/sessions/{session}")).status_code == 204
    await _json(one, "POST", "/deadletters/purge", {"filter": {"origin": "webhook", "name": sessions["refuse"]}})


async def _letters(http: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    found = (await _json(http, "GET", "/deadletters?limit=100"))["deadletters"]
    return [letter for letter in found if name in json.dumps(letter)]


async def _is_over(http: httpx.AsyncClient, job: str) -> bool:
    return (await _json(http, "GET", f"/deadletters/jobs/{job}"))["state"] in ("done", "failed")


async def _a_run_is_published_and_stopped(http: httpx.AsyncClient, house: House) -> None:
    done = await asyncio.to_thread(callboard, "run", "--job", "quick", "--", "echo", "50%", **house.env("producer"))
    assert done.returncode == 0, done.stderr
    await eventually(lambda: _run_is(http, "quick", "completed"))


async def _run_is(http: httpx.AsyncClient, run: str, status: str) -> bool:
    answer = await http.get(f"/runs/{run}")
    return answer.status_code == 200 and status in answer.text


async def _pictures_are_watched(http: httpx.AsyncClient) -> None:
    for path in ("/cameras/main/mjpeg", "/octane/main/mjpeg"):
        async with asyncio.timeout(PATIENCE), http.stream("GET", path) as answer:
            body = b""
            async for part in answer.aiter_raw():
                body += part
                if b"\xff\xd8" in body:
                    break
    assert (await http.get("/cameras/main/snapshot")).status_code == 200
    run = await eventually(lambda: _finished_render(http))
    # It is stored a moment after the run has ended.
    assert (await eventually(lambda: _picture(http, run))).startswith(b"\xff\xd8")
    assert [camera["id"] for camera in (await _json(http, "GET", "/cameras"))["cameras"]] == ["main"]


async def _picture(http: httpx.AsyncClient, run: str) -> bytes | None:
    answer = await http.get(f"/runs/{run}/picture")
    return answer.content if answer.status_code == 200 else None


async def _finished_render(http: httpx.AsyncClient) -> str | None:
    runs = (await _json(http, "GET", "/runs?domain=job&status=completed"))["runs"]
    return next((run["run"] for run in runs if run["run"].startswith("octane-main-")), None)


async def _an_actor_s_dead_letter_goes_back_to_it(http: httpx.AsyncClient) -> None:
    # What the door takes, and the actor cannot use.
    variants = {str(number): {"clicks": number} for number in range(40)}
    await _json(http, "POST", "/events", {"subject": "metric.odd.ab_test_result", "data": {"variants": variants}})
    letters = await eventually(lambda: _letters(http, "metric.odd.ab_test_result"))
    job = await _json(http, "POST", "/deadletters/redrive", {"id": letters[0]["id"]})
    await eventually(lambda: _is_over(http, job["id"]))


# What JetStream's API itself is made of, beside the names of streams.
VERBS = {
    "STREAM",
    "CONSUMER",
    "DIRECT",
    "MSG",
    "INFO",
    "NAMES",
    "LIST",
    "CREATE",
    "UPDATE",
    "DELETE",
    "PURGE",
    "GET",
    "NEXT",
}

# What each is refused: (user, publish or subscribe, subject). Nothing here is needed by the system, as the test above shows.
REFUSED = [
    *((user, "publish", f"$JS.API.STREAM.DELETE.{topology.EVENTS}") for user in USERS if user != "streams"),
    *((user, "publish", f"$JS.API.STREAM.PURGE.{topology.EVENTS}") for user in USERS),
    *((user, "publish", "$SYS.REQ.SERVER.PING") for user in USERS),
    *((user, "publish", f"$JS.API.STREAM.UPDATE.{topology.EVENTS}") for user in USERS if user != "streams"),
    *((user, "publish", f"$JS.API.STREAM.CREATE.{topology.SESSIONS}") for user in USERS if user != "streams"),
    *((user, "publish", "_INBOX_edge.abc.1") for user in USERS if user != "edge"),
    *((user, "subscribe", "_INBOX_edge.>") for user in USERS if user != "edge"),
    *((user, "subscribe", "_INBOX.>") for user in USERS),
    *((user, "subscribe", "ev.>") for user in USERS),
    *((user, "subscribe", "$KV.SESSIONS.>") for user in USERS),
    *((user, "publish", "$KV.SESSIONS.sess_1") for user in USERS if user != "edge"),
    *((user, "publish", "$KV.ENDPOINTS.x") for user in USERS if user != "edge"),
    *((user, "publish", "$KV.RUNS.agent.x") for user in USERS if user not in ("edge", "agent", "producer")),
    *((user, "publish", "$KV.STATES.camera.main") for user in USERS if user not in ("edge", "camera")),
    *((user, "publish", "$KV.STATES.octane.main.kept") for user in USERS if user != "octane"),
    *((user, "publish", "$JS.API.DIRECT.GET.KV_STATES.$KV.STATES.octane.main") for user in ("streams", "camera", "producer")),
    *((user, "publish", "picture.of.octane.main.beauty") for user in USERS if user != "octane"),
    *((user, "publish", "picture.run.agent.x") for user in USERS),
    *((user, "publish", "$JS.API.DIRECT.GET.EVENTS.ev.alert.x.firing") for user in ("streams", "camera", "producer")),
    *((user, "publish", "hook.q.0.sess_1") for user in USERS if user != "edge"),
    *((user, "subscribe", "live.ev.>") for user in USERS if user not in ("edge", "operator")),
    *((user, "publish", "$JS.API.DIRECT.GET.KV_SESSIONS") for user in USERS if user not in ("edge", "operator")),
    *((user, "publish", "$JS.API.DIRECT.GET.EVENTS") for user in ("streams", "camera", "octane", "producer")),
    *((user, "publish", "$JS.API.CONSUMER.CREATE.EVENTS.mine") for user in USERS),
    *((user, "publish", "$JS.API.CONSUMER.DELETE.EVENTS.actor-agent") for user in USERS),
    *((user, "publish", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.actor-agent") for user in USERS if user != "agent"),
    *((user, "publish", "$JS.ACK.EVENTS.actor-agent.1.1.1.1.0") for user in USERS if user != "agent"),
    *((user, "publish", "cmd.camera.main.still") for user in USERS if user not in ("operator", "edge")),
    *((user, "subscribe", "cmd.camera.>") for user in USERS if user != "camera"),
    *((user, "publish", "evs.1.0.alert.fire.firing") for user in USERS if user not in ("edge", "alerts")),
    *((user, "publish", "$KV.LAYOUT.events") for user in USERS if user != "streams"),
    *((user, "publish", "$JS.API.STREAM.DELETE.HOOKS") for user in USERS),
    *((user, "publish", f"$JS.API.CONSUMER.CREATE.HOOKS.actor-{user}") for user in ("agent", "alerts", "metrics")),
    *((user, "publish", "$JS.API.DIRECT.GET.KV_SESSIONS") for user in ("agent", "alerts", "metrics")),
    *((user, "publish", "ev.alert.fire.firing") for user in USERS if user not in ("edge", "alerts")),
    *((user, "publish", "ev.metric.c1.state") for user in USERS if user not in ("edge", "metrics", "producer")),
    *((user, "publish", "ev.camera.main.state") for user in USERS if user not in ("edge", "camera")),
    *((user, "publish", "frame.camera.main") for user in USERS if user != "camera"),
    *((user, "publish", "dead.webhook.sess_1.gone") for user in USERS if user != "edge"),
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
async def test_what_a_component_does_not_need_is_refused(house: House, user: str) -> None:
    wanted = [(way, subject) for who, way, subject in REFUSED if who == user]
    before = len(house.server.violations)
    connection = Connection(house.settings(user), "test")
    await connection.open()
    try:
        for way, subject in wanted:
            if way == "publish":
                await connection.send(subject, b"")
            else:
                await connection.listen(subject, lambda *_: None)
        await connection.flush()
        await eventually(lambda: len(house.server.violations) - before >= len(wanted))
    finally:
        await connection.close()

    told = house.server.violations[before:]
    for way, subject in wanted:
        verb = "Publish" if way == "publish" else "Subscription"
        assert any(verb in line and f'"{subject}"' in line for line in told), f"{user} may {way} {subject}"


@pytest.mark.parametrize("user", [*USERS, "sys"])
async def test_nobody_comes_in_without_the_password(house: House, user: str) -> None:
    from dataclasses import replace

    settings = replace(house.settings("edge"), user=user, password="wrong")

    assert "authorization" in (await refusal(settings)).lower()


async def test_frames_alone_may_be_made_again_by_who_sends_them(house: House) -> None:
    settings = TopologySettings(apply_streams=False)
    async with Broker(house.settings("streams"), "test", TopologySettings()) as _:
        pass
    async with Broker(house.settings("camera"), "test", settings) as broker:
        await provisioning.restore(broker.connection, settings)

        assert await provisioning.missing(broker.connection, settings) == []


def test_every_stream_and_user_that_the_file_names_exists() -> None:
    from tests.k8s.cast import NATS

    text = (NATS / "accounts.conf").read_text()
    allowed = [found.partition(".$KV")[0] for found in re.findall(r"\"\$JS\.(?:API|ACK)\.([^\"]+)\"", text)]
    named = {token for subject in allowed for token in subject.split(".") if token.isupper()} - VERBS
    streams = {stream.name for stream in topology.streams(TopologySettings())}

    assert set(re.findall(r"user: (\w+)", text)) == {*USERS, "sys"}
    assert named <= streams
    assert "KV_SESSIONS" in named


async def test_after_a_reshard_the_system_goes_on_under_its_users(house: House, tmp_path: Path) -> None:
    """Last of all: the streams of this house are sealed by it."""
    receiver, before = Receiver(), len(house.server.violations)
    try:
        async with receiver.running(), system(house, tmp_path) as ((one, other), _parts):
            await _everybody_is_there(house)
            done = await asyncio.to_thread(callboard, "streams", "reshard", "3", **house.env("streams"))
            assert done.returncode == 0, done.stderr
            await _a_session_is_read_in_every_way(one, other)
            await _webhooks_are_posted_retried_given_up_and_redriven(one, other, receiver)
            await _a_run_is_published_and_stopped(one, house)
            found = await asyncio.to_thread(
                callboard, "doctor", "--json", **house.env("operator"), DATA_DIR=str(tmp_path)
            )
            events = next(each for each in json.loads(found.stdout)["findings"] if each["check"] == "events")
            assert "in 4 streams, 1 of them sealed" in events["found"], found.stdout
    finally:
        print(*house.server.violations[before:], sep="\n")

    # Who may read no more than the newest event of a subject finds that out once in each process.
    found_out = 'Publish Violation - Subject "$JS.API.DIRECT.GET.EVENTS"'
    others = [line for line in house.server.violations[before:] if found_out not in line]
    assert others == [] and len(house.server.violations) - before <= 10
