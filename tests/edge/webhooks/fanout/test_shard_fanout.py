"""Webhooks while the events are put into other streams: each event once, those of an entity in their order."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from edge.sessions.registry import Session
from edge.webhooks.queue.job import FRESH
from router.cursor import Start, parse_cursor
from router.deadletter import webhook_subject
from router.event_place import locate
from router.nats.headers import header
from router.topology import HOOKS
from tests.edge.webhooks.fanout.fanning import IDLE, NOWHERE, fanning, jobs, until_stored
from tests.edge.webhooks.history.recovering import working
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.letters import letters_under
from tests.router.resharding import reshard
from tests.waiting import eventually


async def places(stage: Stage, session: Session) -> list[tuple[str, str, int]]:
    """The entity, stream and sequence of each job of a session, in the order in which they lie in HOOKS."""
    request = {"seq": 1, "batch": 1000, "next_by_subj": f"{FRESH}.*.{session.id}"}
    run = await stage.broker.stream(HOOKS).read_run(request, lambda reply: reply.headers)
    found = []
    for headers in run.messages:
        place = locate(int(header(headers, b"X-Sequence") or 0))
        found.append(((header(headers, b"X-Subject") or "").split(".")[1], place.stream, place.sequence))
    return found


async def publish(stage: Stage, count: int) -> None:
    for number in range(count):
        await stage.publish(f"agent.run-{number % 5}.progress")


def generation_of(stream: str) -> int:
    return 0 if stream == "EVENTS" else int(stream.split("_")[1])


async def test_each_session_has_the_former_streams_before_the_new_ones(stage: Stage) -> None:
    await stage.widen(1000)
    process = await fanning(stage)
    first = await stage.session(NOWHERE, subjects=["agent.>"])
    await publish(stage, 20)
    await until_stored(stage, first.id, 20)

    await reshard(stage.broker, 3)
    await publish(stage, 20)
    await until_stored(stage, first.id, 40)
    # Away while events come: another process goes on from the checkpoints of all shards.
    await process.stop()
    stage.processes.clear()
    late = await stage.session(NOWHERE, subjects=["agent.>"], start=5)
    fresh = await stage.session(NOWHERE, subjects=["agent.>"])
    await publish(stage, 20)
    again = await fanning(stage)
    await eventually(lambda: again.webhooks.fanout.owner)

    await until_stored(stage, first.id, 60)
    await until_stored(stage, late.id, 55)
    await until_stored(stage, fresh.id, 20)
    for session in (first, late, fresh):
        found = await places(stage, session)
        assert len(set(found)) == len(found)
        for entity in {entity for entity, *_ in found}:
            mine = [(generation_of(stream), sequence) for each, stream, sequence in found if each == entity]
            assert mine == sorted(mine)
    assert {stream for _, stream, _ in await places(stage, fresh)} <= {"EVENTS_1_0", "EVENTS_1_1", "EVENTS_1_2"}


async def test_a_session_that_gets_nothing_keeps_no_other_in_the_former_streams(stage: Stage) -> None:
    await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, expire_every=60.0)))
    full = await stage.session(NOWHERE, subjects=["agent.>"])  # 50 jobs at most
    await publish(stage, 70)
    await eventually(lambda: _at_least(stage, full, 40))
    other = await stage.session(NOWHERE, subjects=["agent.run-1.>"])

    await reshard(stage.broker, 2)
    await publish(stage, 20)

    await until_stored(stage, other.id, 4)
    assert {generation_of(stream) for _, stream, _ in await places(stage, full)} == {0}
    # Once it has room it goes on where it was, in the former stream first.
    await stage.broker.stream(HOOKS).purge(f"{FRESH}.*.{full.id}")
    await eventually(lambda: _at_least(stage, full, 20))


async def _at_least(stage: Stage, session: Session, count: int) -> bool:
    return await jobs(stage, session.id) >= count


async def test_posts_and_dead_letters_name_the_shard_and_a_replay_covers_all_of_them(
    stage: Stage, receiver: Receiver
) -> None:
    process = await stage.process(QUICK)
    session = await stage.session(receiver.url, subjects=["agent.>"])
    await publish(stage, 5)
    await reshard(stage.broker, 2)
    await publish(stage, 5)
    await eventually(lambda: len(receiver.posts) == 10)

    state = await stage.broker.events_state()
    for post in receiver.posts:
        (part,) = parse_cursor(msgspec.json.decode(post.body)["cursor"]).parts
        assert part.epoch in state.layout.by_epoch
    receiver.answer = 410
    await stage.publish("agent.run-9.progress")
    (letter,) = await eventually(lambda: letters_under(stage.broker, webhook_subject(session.id)))
    shard = stage.broker.layout.shard_of("agent.run-9.progress")
    assert (letter.origin.stream, letter.origin.subject) == (shard.stream, shard.stored("agent.run-9.progress"))

    # Deliveries again: of the former stream and of the new ones, up to what the session was shown.
    receiver.answer, receiver.posts[:] = 204, []
    async with working(stage, process) as (recoveries, _, _):
        made = await recoveries.replay(session, Start(earliest=True), None, 1000.0)
        streams = [locate(low).stream for low, _ in made.ranges]
        assert streams[0] == "EVENTS" and set(streams) == {"EVENTS", "EVENTS_1_0", "EVENTS_1_1"}

        async def done() -> bool:
            return (await recoveries.find(session.id, made.id)).state == "done"

        await eventually(done)
        found = await recoveries.find(session.id, made.id)
    assert (found.sent, found.progress) == (11, 1.0)
