"""The JavaScript client in Node: packed by npm and installed, it reads by one cursor over what Node has; and how large it is."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.http.system import CLIENT
from ops.types.typescript import typescript
from router.catalogue import all_types
from tests import parts
from tests.edge.auth.conftest import SecuredFactory, secured, token
from tests.edge.conftest import RunningEdge
from tests.npm import node_with
from tests.waiting import in_time

__all__ = ["secured"]

PROGRAM = Path(__file__).with_name("javascript.mjs")
# What the core may weigh, bundled, minified and gzipped.
MAX_CORE = 12_000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the packed client is installed."""
    folder = tmp_path_factory.mktemp("client")
    npm = parts.program(parts.NODE, "npm")
    packed = subprocess.run(
        [npm, "pack", "--silent", str(CLIENT)], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    node_with(folder, str(folder / packed.stdout.strip()))
    return folder


async def run(package: Path, *arguments: str, source: Path = PROGRAM, text: str = "", **environment: str) -> Any:
    """What a program prints; it must end by itself."""
    node = parts.program(parts.NODE, "node")
    program = package / f"program-{source.name}"
    program.write_text(text or source.read_text())
    process = await asyncio.create_subprocess_exec(
        node,
        str(program),
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        out, err = await in_time(process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_node_reads_by_each_transport_on_one_cursor_publishes_and_ends(
    edge: RunningEdge, entity: str, package: Path
) -> None:
    await edge.publish(*({"subject": f"job.{entity}.output", "data": {"n": n}} for n in range(6)))

    # A loop that is left at an event has not dealt with it: that one comes again.
    first = await run(package, edge.url, entity, "auto", "earliest", "3")
    second = await run(package, edge.url, entity, "sse", first["cursor"], "3")
    third = await run(package, edge.url, entity, "polling", second["cursor"], "2")

    assert (first["seen"], second["seen"], third["seen"]) == ([0, 1, 2], [2, 3, 4], [4, 5])
    assert (second["transport"], third["transport"]) == ("sse", "polling")
    assert first["published"]["events"][0]["cursor"]


GATHERED = """
const { Subscriber } = await import(process.argv[2]);

const said = [];
const reader = new Subscriber((message) => said.push(message), {});
for (let n = 0; n < 1000; n += 1) {
  reader.give({ n });
  await null;
}
reader.send({ say: "at" });
const sizes = said.map(({ events }) => events?.length ?? "at");
console.log(JSON.stringify([sizes, said.flatMap(({ events }) => (events ?? []).map(({ n }) => n))]));
"""


async def test_events_that_come_close_together_reach_a_page_in_order_and_in_a_few_messages(package: Path) -> None:
    sizes, seen = await run(package, (CLIENT / "channel.js").as_uri(), text=GATHERED)

    # The first goes at once; what is said besides comes behind the events before it.
    assert sizes[0] == 1 and sizes[-1] == "at"
    assert max(sizes[:-1]) <= 100
    # One for every 8 ms that these took, on a slow machine.
    assert len(sizes) < 500
    assert seen == list(range(1_000))


DELETED = """
import { connect } from "callboard-client";

const [, , url, entity] = process.argv;
const board = connect(url, { subjects: [`job.${entity}.>`] });
board.onState(({ phase, session }) => phase === "live" && fetch(`${url}/callbacks/sessions/${session}`, { method: "DELETE" }));
const told = await board[Symbol.asyncIterator]().next().catch(({ name, code, message }) => [name, message]);
board.close();
console.log(JSON.stringify(told));
"""


async def test_a_loop_over_a_session_that_somebody_deletes_says_so(
    edge: RunningEdge, entity: str, package: Path
) -> None:
    told = await run(package, edge.url, entity, text=DELETED)

    assert told == ["Refusal", "session_deleted"]


AIMED = """
import { connect } from "callboard-client";

const [, , url, entity] = process.argv;
const board = connect(url, { subjects: [`job.${entity}.>`] });
const states = [];
const live = (session) =>
  new Promise((resolve) => {
    const end = board.onState((state) => {
      if (state.phase !== "live" || state.session === session) return;
      end();
      resolve(state.session);
    });
  });
const first = await live();
board.onState(({ phase, reason }) => states.push([phase, reason]));
const more = board.subscribe({ subjects: [`agent.${entity}.>`] });
await live(first);
more.close();
board.close();
console.log(JSON.stringify(states));
"""


async def test_a_client_that_reads_more_from_now_on_tells_of_no_failure(
    edge: RunningEdge, entity: str, package: Path
) -> None:
    states = await run(package, edge.url, entity, text=AIMED)

    assert ["connecting", ""] in states and ["live", ""] in states
    assert {reason for _, reason in states} == {""}, states


REFUSED = """
import { Board, connect } from "callboard-client";

const [, , url, entity] = process.argv;
const told = [];
try {
  connect("localhost:8000");
} catch ({ name, message }) {
  told.push([name, message]);
}
const read = async (subscription) => {
  try {
    for await (const _ of subscription) break;
  } catch ({ name, code }) {
    told.push([name, code]);
  }
};
await read(connect(url, { token: "nonsense", transport: "sse" }));
const board = new Board(url, { token: process.argv[4] });
await read(board.subscribe({ subjects: [`camera.${entity}.>`] }));
await read(board.subscribe({ subjects: [`camera.${entity}.>`], last: 1 }));
const subject = `camera.${entity}.x`;
const asks = [() => board.publish(subject), () => board.command("agent", "main", "stop", {}), () => board.history([subject])];
for (const ask of asks) {
  await ask().catch(({ name, status, code }) => told.push([name, status, code]));
}
board.close();
console.log(JSON.stringify(told));
"""


async def test_a_program_is_told_what_it_may_not(secured: SecuredFactory, entity: str, package: Path) -> None:
    async with secured() as edge:
        told = await run(package, edge.url, entity, token("alice", read=[f"job.{entity}.>"]), text=REFUSED)

    assert told == [
        ["TypeError", "localhost:8000: must be http:// or https://"],
        ["Refusal", "bad_token"],
        ["Refusal", "not_granted"],
        ["Refusal", "not_granted"],
        ["Refusal", 403, "not_granted"],
        ["Refusal", 403, "not_granted"],
        ["Refusal", 403, "not_granted"],
    ]


async def test_a_snapshot_has_the_newest_of_each_subject(edge: RunningEdge, entity: str, package: Path) -> None:
    kinds = ("progress", "job_progress", "progress", "job_progress")
    await edge.publish(
        *({"subject": f"job.{entity}.{kind}", "data": {"n": n, "progress": 0.5}} for n, kind in enumerate(kinds))
    )

    found = await run(package, edge.url, entity, "auto", "snapshot", "2")

    assert found["seen"] == [2, 3]


async def test_the_real_time_guide_s_producer_publishes_to_its_channels(
    edge: RunningEdge, entity: str, package: Path
) -> None:
    # What a program that has the guide's folder puts in its place.
    (package / "realtime.mjs").write_text('export * from "callboard-client/realtime";')
    names = (f"job-{entity}", f"campaign-{entity}", f"user-{entity}")
    session = await edge.session(
        subjects=[f"job.job-{entity}.*", f"metric.campaign-{entity}.*", f"alert._user-{entity}.>"], cursor="earliest"
    )

    said = await run(package, *names, source=PROGRAM.with_name("realtime.mjs"), CALLBOARD_URL=edge.url)

    events = (await edge.poll(session))["events"]
    assert [event["subject"] for event in events] == [
        f"job.job-{entity}.job_progress",
        f"job.job-{entity}.video_render_progress",
        f"alert._user-{entity}.app.alert",
        f"metric.campaign-{entity}.live_metric_update",
    ]
    assert (events[0]["data"]["stage"], events[1]["data"]["currentFrame"]) == ("rendering", 500)
    assert (events[2]["data"]["title"], events[2]["data"]["entityId"]) == ("High CPC Detected", names[1])
    assert events[2]["data"]["alertId"] == said["alert"]["alertId"]
    assert said["stored"]["cursor"] == events[3]["cursor"]
    assert (said["refused"]["status"], said["refused"]["code"]) == (422, "bad_event")


def test_the_core_weighs_less_than_twelve_kilobytes(package: Path) -> None:
    node = node_with(package, "esbuild@0.25.5")
    (package / "core.js").write_text('export { connect } from "callboard-client";')
    made = subprocess.run(
        [
            node,
            "node_modules/esbuild/bin/esbuild",
            "core.js",
            "--bundle",
            "--minify",
            "--format=esm",
            "--external:./frames.js",
        ],
        cwd=package,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    assert len(gzip.compress(made.stdout, 9)) < MAX_CORE


TYPED = """
import { connect } from "callboard-client";
import { useJobProgress, useRenderProgressStream } from "callboard-client/react";
import { createAlertEvent, getChannelManager } from "callboard-client/realtime";
import type { EventData } from "./events";

const board = connect<EventData>("http://localhost:8000", { subjects: ["agent.run-42.>"], last: 5, persist: "mine" });
board.on("progress", ({ data, cursor }) => console.log((data.progress ?? 0) * 100, cursor.length));
// @ts-expect-error: a share is no text.
board.on("progress", ({ data }) => data.progress?.toUpperCase());
// @ts-expect-error: no such type.
board.on("progres", () => {});
for await (const event of board) console.log(event.event_type.length);
const stopped: { done: boolean } = await board.command("agent", "main", "stop", { run: "run-42" });
const stored: { cursor: string } = await getChannelManager().publish({ type: "job_progress", id: "j" }, { progress: 0.5 });
// @ts-expect-error: no such channel.
await getChannelManager().publish({ type: "weather" }, createAlertEvent("warning", "performance", "High", stored.cursor));
export const shown = () => useRenderProgressStream("job").estimatedTime.toFixed(0) + useJobProgress(null).status + stopped.done;
"""


# Without the types of pages.
NODE_TYPED = """
import { connect } from "callboard-client";

const persist = { key: "mine", storage: { getItem: () => null, setItem: (_key: string, cursor: string) => cursor } };
for await (const { subject } of connect("http://localhost:8000", { subjects: ["job.>"], persist })) console.log(subject);
"""
PAGES = ("--module", "esnext", "--moduleResolution", "bundler")
NODE = ("--module", "nodenext", "--lib", "es2022", "--types", "node")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "program", "options"), [("typed.ts", TYPED, PAGES), ("node.mts", NODE_TYPED, NODE)], ids=["page", "node"]
)
def test_the_types_fit_those_that_the_command_writes(
    package: Path, name: str, program: str, options: tuple[str, ...]
) -> None:
    node = node_with(package, "typescript@5.9.3", "@types/react@19.1.0", "@types/node@20")
    (package / "events.ts").write_text(typescript(all_types()))
    (package / name).write_text(program)

    done = subprocess.run(
        [node, "node_modules/typescript/bin/tsc", "--strict", "--noEmit", "--target", "es2022", *options, name],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


async def test_the_modules_and_their_types_are_served(edge: RunningEdge) -> None:
    module = await edge.http.get("/client.js")

    assert module.headers["content-type"].startswith("text/javascript")
    assert module.text == 'export * from "./client/index.js";\n'
    files = [path for path in CLIENT.rglob("*") if path.is_file()]
    assert CLIENT / "player" / "webcodecs.js" in files
    for path in files:
        answer = await edge.http.get(f"/client/{path.relative_to(CLIENT).as_posix()}")
        assert answer.status_code == 200, path
        assert "video" not in answer.headers["content-type"], path
