"""Clients while the events go to other streams: each event once, those of an entity in their order.

Those of Callboard, and those of others on a wire that breaks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from router.cursor import parse_cursor
from router.sdk.reader import SessionReader
from tests.edge.clients.test_clients import GO, NPM, PYTHON, QUIET, REPEATS, go, npm, python, reads_it_all
from tests.edge.clients.test_javascript import package, run
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.test_reading_shards import reshard_soon
from tests.router.resharding import SHORT, broker_of, reshard
from tests.waiting import eventually, in_time

__all__ = ["go", "npm", "package", "python"]

pytestmark = pytest.mark.slow

ENTITIES = ["a", "b", "c", "d", "e"]
# Reads from now on, and by the same connection from the oldest event on, until it has had the last of each entity.
PROGRAM = """
import { connect } from "callboard-client";

const [url, last, entities] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const board = connect(url, { subjects: ["job.>"] });
await new Promise((live) => board.onState(({ phase }) => phase === "live" && live()));
const seen = { now: [], earliest: [] };
let gaps = 0;
const whole = (name, read) => new Promise((done) => {
  let left = entities;
  read.onNotice(({ control }) => (gaps += control === "gap"));
  read.on("output", ({ subject, data }) => {
    seen[name].push([subject, data.n]);
    if (data.n === last && (left -= 1) === 0) done();
  });
});
const reads = [whole("now", board)];
reads.push(whole("earliest", board.subscribe({ subjects: ["job.>"], types: ["output"], cursor: "earliest" })));
await Promise.all(reads);
// What comes twice comes soon.
await new Promise((rest) => setTimeout(rest, 500));
console.log(JSON.stringify({ ...seen, gaps }));
board.close();
process.exit(0);
"""


# Each round publishes twelve numbers while two subscriptions begin with a snapshot, and a thirteenth when both have begun.
SNAPSHOTS = """
import { connect } from "callboard-client";

const [url, rounds] = [process.argv[2], Number(process.argv[3])];
const pause = (most) => new Promise((done) => setTimeout(done, Math.random() * most));
const publish = async (entity, n) => {
  const body = JSON.stringify({ subject: `job.${entity}.progress`, type: "progress", data: { n } });
  const answer = await fetch(`${url}/events`, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(await answer.text());
};

function follow(board, entity) {
  const seen = [];
  const reading = board.subscribe({ subjects: [`job.${entity}.>`], cursor: "snapshot" });
  const begun = new Promise((done) => reading.on("progress", done));
  const whole = new Promise((done) => {
    reading.on("progress", ({ data }) => {
      seen.push(data.n);
      if (data.n === 13) done(seen);
    });
  });
  return { begun, whole };
}

async function round(number) {
  const entity = `e${number}`;
  const board = connect(url, { subjects: [`alert.${entity}.>`] });
  await new Promise((live) => board.onState(({ phase }) => phase === "live" && live()));
  const published = (async () => {
    for (let n = 1; n <= 12; n++) await publish(entity, n);
  })();
  await pause(30);
  const first = follow(board, entity);
  await pause(20);
  const second = follow(board, entity);
  await Promise.all([published, first.begun, second.begun]);
  await publish(entity, 13);
  const seen = await Promise.all([first.whole, second.whole]);
  board.close();
  return seen;
}

const seen = [];
for (let n = 0; n < rounds; n += 4) seen.push(...(await Promise.all([0, 1, 2, 3].map((more) => round(n + more)))));
console.log(JSON.stringify(seen.flat()));
process.exit(0);
"""


class Said:
    def __init__(self, edge: RunningEdge) -> None:
        self.edge, self.count = edge, 0

    async def say(self, rounds: int) -> None:
        for _ in range(rounds):
            events = [
                {"subject": f"job.{each}.output", "type": "output", "data": {"n": self.count}} for each in ENTITIES
            ]
            await self.edge.publish(*events)
            self.count += 1


def numbers(seen: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for subject, number in seen:
        found[subject.split(".")[1]].append(number)
    return found


async def test_subscriptions_of_a_page_read_each_event_once_through_reshards(
    edge_factory: EdgeFactory, own_nats: str, package: Any
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        said = Said(edge)
        # More than one page in the former stream, which the second subscription reads while the first is live in the new ones.
        await said.say(130)
        await reshard(broker, 3)
        await said.say(130)
        arguments = (edge.url, "339", str(len(ENTITIES)))
        program = asyncio.create_task(run(package, *arguments, text=PROGRAM))
        await eventually(edge.session_ids)
        await said.say(40)
        await reshard_soon(broker, 2)
        await said.say(40)
        printed = await in_time(program)

    assert numbers(printed["earliest"]) == {entity: list(range(340)) for entity in ENTITIES}
    now = numbers(printed["now"])
    assert all(found == list(range(found[0], 340)) for found in now.values())
    assert printed["gaps"] == 0


async def test_a_subscription_that_begins_with_a_snapshot_reads_on_in_order_where_there_are_several_streams(
    edge_factory: EdgeFactory, own_nats: str, package: Any
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        await reshard(broker, 3)

        seen = await run(package, edge.url, "40", text=SNAPSHOTS)

    assert len(seen) == 80
    for each in seen:
        # The snapshot has the newest number so far, if any.
        assert each == [*range(each[0], 14)]


@pytest.mark.parametrize("transport", ["sse", "polling"])
async def test_the_python_client_reads_each_event_once_through_reshards(
    edge_factory: EdgeFactory, own_nats: str, transport: str
) -> None:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        said = Said(edge)
        await said.say(20)
        seen: list[Any] = []
        spec = {"subjects": ["job.>"], "cursor": "earliest"}
        reader = SessionReader(edge.url, dict, spec, transports=(transport,))

        async def read(upto: int) -> None:
            async for event in reader:
                seen.append((event.subject, event.data["n"]))
                if len(seen) == upto * len(ENTITIES):
                    return

        for shards in (3, 2):
            going_on = asyncio.create_task(read(said.count + 20))
            await said.say(10)
            await reshard_soon(broker, shards)
            await said.say(10)
            # The loop is left and begun again at the cursor, which is one of the former streams for the second.
            await in_time(going_on)
            # The last one was not taken to its end, and comes again. Which one it is, is open: it is one of several shards.
            last = seen.pop()

    assert numbers([*seen, last]) == {entity: list(range(60)) for entity in ENTITIES}


def places(cursors: list[str], own: dict[str, None]) -> list[tuple[str, int]]:
    """Where events lie by their cursors; `own` are the streams of their entity, the latest last."""
    found = []
    for cursor in cursors:
        parts = {part.epoch: part.sequence for part in parse_cursor(cursor).parts}
        epoch = next(epoch for epoch in reversed(own) if epoch in parts)
        found.append((epoch, parts[epoch]))
    return found


@pytest.mark.parametrize(
    ("way", "name"),
    [*(("npm", name) for name in NPM), *(("python", name) for name in PYTHON), *(("go", name) for name in GO)],
)
async def test_a_client_on_a_wire_that_breaks_reads_it_all_through_reshards(
    edge_factory: EdgeFactory, own_nats: str, entity: str, request: pytest.FixtureRequest, way: str, name: str
) -> None:
    command: list[str] = request.getfixturevalue(way)
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT, session=QUIET) as edge:
        client, cursors, _ = await reads_it_all(
            edge, entity, name, command, lambda: reshard_soon(broker, 3), lambda: reshard_soon(broker, 2)
        )

    checked = [next(part for part in parse_cursor(cursor).parts if part.check >= 0) for cursor in cursors]
    own = dict.fromkeys(part.epoch for part in checked)
    assert len(own) == 3 and places(cursors, own) == [(part.epoch, part.sequence) for part in checked]
    for seen in client.seen:
        read = places(seen, own)
        assert (sorted(set(read), key=read.index) if name in REPEATS else read) == places(cursors, own)
