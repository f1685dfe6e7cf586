"""Assistants of LangGraph's API are the agents that serve, as far as one may start them."""

from __future__ import annotations

from typing import Any

from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Serving, Worker
from tests.waiting import eventually


async def is_found(edge: RunningEdge, name: str, **search: Any) -> bool:
    found = (await edge.http.post("/assistants/search", json=search)).json()
    return name in [each["assistant_id"] for each in found]


async def test_an_agent_that_serves_is_an_assistant(edge: RunningEdge, worker: Worker) -> None:
    # Who is slow to answer is left out.
    for search in ({"limit": 1000}, {"graph_id": worker.name}):
        await eventually(lambda search=search: is_found(edge, worker.name, **search))
    named = (await edge.http.post("/assistants/search", json={"graph_id": worker.name})).json()
    one = (await edge.http.get(f"/assistants/{worker.name}")).json()
    none = await edge.http.get("/assistants/nobody.here")

    graph = (await edge.http.get(f"/assistants/{worker.name}/graph")).json()
    schemas = (await edge.http.get(f"/assistants/{worker.name}/schemas")).json()

    assert {each["graph_id"] for each in named} <= {worker.name} == {one["assistant_id"]}
    assert one["description"] == "Begins."
    assert (none.status_code, none.json()["code"]) == (404, "assistant_not_found")
    assert {edge["target"] for edge in graph["edges"]} == {"agent", "tools", "__end__"}
    assert (schemas["graph_id"], schemas["input_schema"]) == (worker.name, None)
    assert (await edge.http.get("/info")).json()["server"] == "callboard"


async def test_only_agents_that_may_be_started_are_shown(secured: SecuredFactory, serving: Serving) -> None:
    async with secured() as edge, serving("agent-shown"), serving("agent-hidden"):
        user = edge.as_("user", command=["agent-shown.main.start"])
        await eventually(lambda: is_found(user, "agent-shown"))
        found = (await user.http.post("/assistants/search", json={})).json()
        hidden = await user.http.get("/assistants/agent-hidden")

    assert {each["assistant_id"] for each in found} <= {"agent-shown"}
    assert hidden.status_code == 404
