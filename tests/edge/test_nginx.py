"""A real nginx with the configuration of ops/nginx before two edge processes: what is promised holds through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import pytest_asyncio
import websockets

from ops.launch import own_argv
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from router.nats.embedded import free_port
from tests import parts
from tests.edge.conftest import UNHURRIED, keep_picture
from tests.waiting import PATIENCE, eventually, unhurried

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CONF = Path(__file__).parents[2] / "ops" / "nginx" / "callboard.conf"
NAME = "callboard.example"
# The edges' heartbeats come more often than nginx loses patience, and the patience is short enough to sit out.
HEARTBEAT, SILENCE = 1, 4

# What a machine's own nginx.conf may have against us: compression of all there is.
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 2;
events {{ worker_connections 512; }}
http {{
    access_log off;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/callboard.conf;
}}
"""


class Replica:
    """One edge as a process of its own."""

    def __init__(self, nats: str, folder: Path) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "CALLBOARD_NATS_URL": nats,
            "CALLBOARD_DATA_DIR": str(folder),
            "CALLBOARD_EDGE_ALLOWED_HOSTS": f"{NAME},127.0.0.1",
            "CALLBOARD_EDGE_SESSION_HEARTBEAT": str(HEARTBEAT),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *own_argv("edge", "--port", str(self.port)),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await eventually(self._ready)

    async def _ready(self) -> bool:
        assert self._process is not None and self._process.returncode is None, "the edge ended"
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE) as http:
                return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        return False

    async def kill(self) -> None:
        """Ends it as a machine ends that loses its power."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


class Nginx:
    """nginx with our file, and nothing but its marked lines and its patience changed."""

    def __init__(self, binary: str, folder: Path, replicas: list[Replica]) -> None:
        self.port = free_port()
        self.replicas = replicas
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._command = [binary, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        # Nobody's: nginx needs no rights at all. Where the tests run as root it is given none.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            self._command[:0] = ["setpriv", "--reuid", self._user, "--clear-groups"]
        self._process: asyncio.subprocess.Process | None = None

    def write(self, text: str) -> None:
        """Puts a version of our file, and what goes round it, where nginx reads them."""
        (self._folder / "callboard.conf").write_text(text)
        (self._folder / "nginx.conf").write_text(AROUND.format(folder=self._folder))
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)

    def edited(self) -> str:
        """Our file as somebody would edit it for these replicas."""
        text = _replaced(CONF.read_text(), r"server 127\.0\.0\.1:8000", f"server 127.0.0.1:{self.replicas[0].port}")
        text = _replaced(text, r"server 127\.0\.0\.1:8001", f"server 127.0.0.1:{self.replicas[1].port}")
        text = _replaced(text, r"listen 8080;", f"listen 127.0.0.1:{self.port};")
        return _replaced(text, r"proxy_read_timeout 75s;", f"proxy_read_timeout {SILENCE}s;")

    async def check(self) -> tuple[int | None, str]:
        """What `nginx -t` says of the files."""
        process = await asyncio.create_subprocess_exec(*self._command, "-t", stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
        return process.returncode, said.decode()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._command)
        await eventually(self._answers)

    async def _answers(self) -> bool:
        assert self._process is not None and self._process.returncode is None, "nginx ended"
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def http(self, host: str = NAME, **headers: str) -> httpx.AsyncClient:
        """A client that knows this server by its public name."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"Host": host, **headers}, timeout=PATIENCE, trust_env=False, verify=False
        )


def _replaced(text: str, pattern: str, by: str) -> str:
    text, count = re.subn(pattern, by, text)
    assert count == 1, f"{pattern} is there {count} times"
    return text


@pytest.fixture(scope="module")
def nginx_binary() -> str:
    """nginx's path; a machine without one skips these tests, CI may not."""
    return parts.program(parts.NGINX)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nginx(nginx_binary: str, nats_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nginx]:
    """A running nginx before two running edges."""
    replicas = [Replica(nats_server, tmp_path_factory.mktemp("edge")) for _ in range(2)]
    # Not pytest's folder: only its owner may enter that.
    with tempfile.TemporaryDirectory(prefix="callboard-nginx-") as folder:
        server = Nginx(nginx_binary, Path(folder), replicas)
        try:
            await asyncio.gather(*(replica.start() for replica in replicas))
            server.write(server.edited())
            await server.start()
            yield server
        finally:
            await server.stop()
            await asyncio.gather(*(replica.kill() for replica in replicas))


async def session(http: httpx.AsyncClient, entity: str) -> dict[str, Any]:
    answer = await http.post("/callbacks/sessions", json={"subjects": [f"job.{entity}.>"]})
    made: dict[str, Any] = answer.raise_for_status().json()
    return made


async def publish(http: httpx.AsyncClient, entity: str, *numbers: int) -> list[str]:
    events = [{"subject": f"job.{entity}.output", "data": {"n": n}} for n in numbers]
    answer = await http.post("/events", json=events)
    return [event["cursor"] for event in answer.raise_for_status().json()["events"]]


async def test_the_file_as_it_is_shipped_is_one_that_nginx_takes(nginx_binary: str) -> None:
    with tempfile.TemporaryDirectory(prefix="callboard-nginx-") as folder:
        server = Nginx(nginx_binary, Path(folder), [])
        server.write(CONF.read_text())

        code, said = await server.check()

    assert code == 0, said
    assert "warn" not in said


async def test_an_event_comes_through_at_once_and_uncompressed(nginx: Nginx, entity: str) -> None:
    async with nginx.http(**{"Accept-Encoding": "gzip"}) as http:
        made = await session(http, entity)
        async with httpx_sse.aconnect_sse(http, "GET", f"/callbacks/sessions/{made['session_id']}/sse") as source:
            events = source.aiter_sse()
            # Heartbeats are comments: what nginx holds back until a buffer of its own is full comes too late.
            async with asyncio.timeout(30):
                ready = await anext(events)
            (cursor,) = await publish(http, entity, 1)
            async with asyncio.timeout(30):
                event = await anext(events)
        headers = source.response.headers

    assert (ready.event, event.id) == ("ready", cursor)
    assert "content-encoding" not in headers


async def test_a_websocket_reads_and_is_answered(nginx: Nginx, entity: str) -> None:
    async with nginx.http() as http:
        made = await session(http, entity)
        address = f"{nginx.url.replace('http', 'ws', 1)}/callbacks/sessions/{made['session_id']}/ws"
        async with websockets.connect(address, proxy=None, origin=websockets.Origin(nginx.url), **UNHURRIED) as socket:
            ready = json.loads(await socket.recv())
            (cursor,) = await publish(http, entity, 1)
            said = [json.loads(await socket.recv())]
            await socket.send('{"control":"ping","id":7}')
            while said[-1].get("control") != "pong":
                said.append(json.loads(await socket.recv()))

    assert ready["control"] == "ready"
    assert [event["cursor"] for event in said if "control" not in event] == [cursor]
    assert said[-1]["id"] == 7


async def test_a_poll_waits_for_its_event(nginx: Nginx, entity: str) -> None:
    async with nginx.http() as http:
        made = await session(http, entity)
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(
                http.get(f"/callbacks/sessions/{made['session_id']}/events?wait=3&cursor={made['cursor']}")
            )
            stats = f"/callbacks/sessions/{made['session_id']}/stats"
            await eventually(lambda: _is(http, stats, "polling", 1))
            (cursor,) = await publish(http, entity, 1)
            page = (await polling).raise_for_status().json()

    assert [event["cursor"] for event in page["events"]] == [cursor]


async def _is(http: httpx.AsyncClient, path: str, transport: str, readers: int) -> bool:
    return (await http.get(path)).raise_for_status().json()["readers"][transport] == readers  # type: ignore[no-any-return]


async def test_pictures_come_through_at_once(nginx: Nginx, nats_server: str, entity: str) -> None:
    jpeg = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"
    header = {"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test", "simulated": True}
    async with Broker(unhurried(nats_server), "test-nginx") as broker, nginx.http() as http:
        await broker.publish(Event.new(f"camera.{entity}.state", {"status": "streaming", "simulated": True}))
        await keep_picture(broker, frame_subject("camera", entity), pack(header, jpeg))
        body = b""
        # The stream does not end, and there is one picture: what nginx holds back never comes.
        async with asyncio.timeout(PATIENCE), http.stream("GET", f"/cameras/{entity}/mjpeg") as answer:
            async for part in answer.aiter_raw():
                body += part
                if jpeg in body:
                    break

    assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")


async def test_who_is_slow_behind_nginx_is_slow_to_the_edge_and_loses_nothing(nginx: Nginx, entity: str) -> None:
    async with nginx.http() as http:
        made = await session(http, entity)
        path = f"/callbacks/sessions/{made['session_id']}"
        reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port, limit=2**20)
        writer.write(f"GET {path}/sse HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        await reader.readuntil(b"event: ready")
        wanted: list[str] = []
        # More than all sockets on the way can hold; an nginx that reads ahead would take it all.
        while len(wanted) < 40 and not (await http.get(f"{path}/stats")).json()["spills"]:
            large = [{"subject": f"job.{entity}.output", "data": {"text": "x" * 900_000}}]
            wanted += [event["cursor"] for event in (await http.post("/events", json=large)).json()["events"]]
        stats = (await http.get(f"{path}/stats")).json()
        seen: list[str] = []
        # What comes beside the data, for who has to find out why something did not come.
        told: list[bytes] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while len(seen) < len(wanted):
                    line = await reader.readuntil(b"\n")
                    if line.startswith(b"id: ") and (cursor := line[4:].strip().decode()) in wanted:
                        seen.append(cursor)
                    told.append(line[:200])
        except TimeoutError:
            found = (await http.get(f"{path}/stats")).json()
            pytest.fail(f"{len(seen)} of {len(wanted)}: {found}; last told {told[-30:]}; missing {wanted[len(seen) :]}")
        finally:
            writer.close()

    assert stats["spills"] > 0
    assert seen == wanted


async def test_an_idle_stream_outlives_nginx_s_patience(nginx: Nginx, entity: str) -> None:
    async with nginx.http() as http:
        made = await session(http, entity)
        async with httpx_sse.aconnect_sse(http, "GET", f"/callbacks/sessions/{made['session_id']}/sse") as source:
            lines = source.response.aiter_lines()
            begun = time.monotonic()
            while time.monotonic() - begun < SILENCE + 2:
                await anext(lines)
            (cursor,) = await publish(http, entity, 1)
            while not (await anext(lines)).endswith(cursor):
                pass


async def test_only_the_names_and_origins_that_are_allowed_come_through(nginx: Nginx) -> None:
    async def status(host: str, **headers: str) -> int:
        async with nginx.http(host, **headers) as http:
            return (await http.get("/callbacks/sessions?limit=1")).status_code

    assert await status(NAME) == 200
    assert await status("evil.example") == 421
    assert await status(NAME, Origin=f"http://{NAME}") == 200
    assert await status(f"{NAME}:8443", Origin=f"https://{NAME}:8443") == 200
    assert await status(NAME, Origin="https://evil.example") == 403


async def test_a_body_that_is_too_large_is_refused_by_the_edge_with_its_code(nginx: Nginx) -> None:
    async with nginx.http() as http:
        answer = await http.post("/events", content=b"[" + b" " * 1_500_000 + b"]")

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_readers_of_a_killed_replica_go_on_at_the_other(nginx: Nginx, entity: str) -> None:
    wanted: list[str] = []
    seen: list[str] = []
    async with nginx.http() as http:
        made = await session(http, entity)
        place = made["cursor"]
        path = f"/callbacks/sessions/{made['session_id']}/sse"

        async def read() -> None:
            """Comes back at its cursor until all that was published has come."""
            nonlocal place
            while True:
                with contextlib.suppress(httpx.TransportError):
                    async with httpx_sse.aconnect_sse(http, "GET", path, headers={"Last-Event-ID": place}) as source:
                        async for event in source.aiter_sse():
                            assert event.event != "gap"
                            place = event.id
                            if event.event == "message":
                                seen.append(event.id)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            # The reader is on one of the two, so one of two kills hits it; each replica is back before the next goes.
            for n, replica in enumerate(nginx.replicas):
                wanted += await publish(http, entity, 3 * n)
                await eventually(lambda: seen == wanted)
                await replica.kill()
                wanted += await publish(http, entity, 3 * n + 1)
                await eventually(lambda: seen == wanted)
                await replica.start()
                wanted += await publish(http, entity, 3 * n + 2)
                await eventually(lambda: seen == wanted)
            reading.cancel()

    assert seen == wanted
