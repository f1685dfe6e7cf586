"""The user of an agent as k8s/README.md shows it: a run is begun, stopped, failed and taken over under it without a violation."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec

from router.broker import Broker
from router.clock import wall
from router.nats.bucket import Bucket
from router.run_entry import RunEntry
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.server import AgentServer
from router.topology import RUNS, TopologySettings
from tests.k8s.cast import NATS, open_house
from tests.router.sdk.agents.conftest import Served
from tests.router.sdk.runs import types
from tests.waiting import in_time


async def test_the_user_that_the_readme_shows_has_what_an_agent_needs(tmp_path: Path) -> None:
    readme = (NATS.parents[1] / "README.md").read_text()
    (user,) = re.findall(r"^```conf\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)

    @agent("assistant", queue=1)
    async def assistant(run: Run, input: AgentInput) -> str:
        if input.get("long"):
            await asyncio.sleep(3600)
        return input.text

    with open_house(tmp_path, user) as house:
        async with Broker(house.settings("streams"), "streams", TopologySettings()):
            pass
        async with Broker(house.settings("edge"), "edge", TopologySettings(apply_streams=False)) as edge:
            gone = RunEntry("former", wall.now_ns() - 3600 * 10**9, lease=10.0)
            await Bucket(edge.connection, RUNS).put("thread.chat", msgspec.json.encode(gone))
            broker = Broker(house.settings("assistant"), "assistant")
            await broker.open(apply=False)
            stop, ready = asyncio.Event(), asyncio.Event()
            serving = asyncio.ensure_future(AgentServer([assistant], broker, grace=0).run(stop, ready.set))
            await in_time(ready.wait())
            served = Served(edge, None, "assistant")  # type: ignore[arg-type]

            await served.begin("chat", {"message": "hi"})
            said = await served.ended("chat", times=2)
            await served.begin("chat", {"long": True})
            waits = await served.start("chat", {"message": "in line"})
            await served.tell_to_stop("chat")
            said = await served.ended("chat", times=4)
            stop.set()
            await serving
            await broker.close()
        violations = house.server.violations

    assert violations == []
    assert waits[1]["queued"] == 1
    assert types(said)[:-2] == [
        "completion",
        "workflow_start",
        "completion",
        "workflow_start",
        "stopping",
        "completion",
    ]
    ends = [each.data for each in said if each.type == "completion"]
    assert [end.get("status") for end in ends] == [None, None, "cancelled", None] and ends[3]["result"] == "in line"
