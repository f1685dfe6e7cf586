"""An address that starts an agent stands for one run: of a principal, of its parameters."""

from __future__ import annotations

import asyncio

from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Serving, streaming

PATH = "/api/stream/evaluate-creative?content="


async def test_another_text_is_another_run(edge: RunningEdge, entity: str, serving: Serving) -> None:
    async with serving("evaluation") as agent:
        for text in (f"{entity}-1", f"{entity}-2", f"{entity}-1"):
            async with streaming(edge, PATH + text) as stream:
                await stream.until(b"connected")

    assert [asked["input"]["content"] for asked in agent.asked] == [f"{entity}-1", f"{entity}-2"]  # type: ignore[index]
    assert len({str(asked["run"]) for asked in agent.asked}) == 2


async def test_who_may_not_command_the_agent_starts_nothing(
    secured: SecuredFactory, entity: str, serving: Serving
) -> None:
    async with secured() as edge, serving("evaluation") as agent:
        reader = edge.as_("reader", read=["agent.>"])
        refused = await reader.http.get(PATH + entity)
        both = await asyncio.gather(
            *(
                edge.as_(user, read=["agent.>"], command=["evaluation.main.start"]).http.head(PATH + entity)
                for user in ("a", "b")
            )
        )

    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
    assert [answer.status_code for answer in both] == [200, 200]
    assert agent.asked == []
