"""`callboard streams reshard`: the events go into other streams while everything runs."""

from __future__ import annotations

import asyncio
import json

import pytest

from router.event import Event
from router.nats.stream import stream_names
from router.topology import is_of_events
from tests.ops.command import callboard
from tests.router.resharding import broker_of
from tests.waiting import eventually


async def test_the_events_are_put_into_four_streams_and_said_to_be_so(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(Event.new("job.a.said", {"n": 1}))

        planned = await asyncio.to_thread(callboard, "streams", "reshard", "4", "--dry-run", NATS_URL=own_nats)
        assert planned.returncode == 0, planned.stderr
        assert "would make EVENTS_1_0 to EVENTS_1_3, of at most 256.0 MiB each" in planned.stdout
        assert "nothing was changed" in planned.stdout
        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS"}

        done = await asyncio.to_thread(callboard, "streams", "reshard", "4", NATS_URL=own_nats)
        again = await asyncio.to_thread(callboard, "streams", "reshard", "4", "--json", NATS_URL=own_nats)

        assert done.returncode == again.returncode == 0, done.stderr + again.stderr
        assert "making EVENTS_1_3" in done.stdout and "sealing EVENTS" in done.stdout
        assert json.loads(again.stdout)["changed"] is False
        await eventually(lambda: len(broker.layout.current.shards) == 4)
        # A job that applies the streams leaves the sealed one alone.
        applied = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=own_nats, DEDUP_WINDOW="0.2s")
        assert "EVENTS:" not in applied.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("reshard",), "into how many streams"),
        (("reshard", "65"), "1 to 64"),
        (("diff", "4"), "takes no number"),
        (("apply", "--dry-run"), "takes no number"),
    ],
)
def test_mistakes_are_told(own_nats: str, given: tuple[str, ...], said: str) -> None:
    done = callboard("streams", *given, NATS_URL=own_nats)

    assert done.returncode == 2 if given[-1] != "65" else 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
