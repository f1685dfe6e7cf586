"""A camera without a store refuses to record, and says why."""

from __future__ import annotations

import pytest

from actors.camera.actor import Camera
from actors.system.actor import Reject
from actors.system.probe import Probe


@pytest.mark.parametrize(
    ("command", "arguments"), [("start_recording", {}), ("stop_recording", {}), ("keep_stills", {"every": 5})]
)
async def test_without_a_store_nothing_is_recorded(command: str, arguments: dict[str, float]) -> None:
    async with Probe(Camera) as camera:
        with pytest.raises(Reject, match="no store of recordings"):
            await camera.ask(command, **arguments)

        assert (await camera.ask("describe"))["recording"] is None and camera.crashes == []


async def test_arguments_out_of_range_are_refused_with_their_bounds() -> None:
    async with Probe(Camera) as camera:
        with pytest.raises(Reject, match="seconds"):
            await camera.ask("start_recording", seconds=0)
        with pytest.raises(Reject, match="every"):
            await camera.ask("keep_stills", every=0.01)
