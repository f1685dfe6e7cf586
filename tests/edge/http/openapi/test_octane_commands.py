"""The example of GET /commands in OpenAPI: the commands of an Octane as its actor declares them.

`python -m tests.edge.http.openapi.test_octane_commands` writes the example anew.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import httpx

from actors.octane.actor import Octane
from actors.system.schema import command_schema
from edge.http.bodies.commands import OCTANE_COMMANDS


def declared() -> list[dict[str, Any]]:
    return [
        {
            "actor": "octane",
            "instance": "main",
            "name": name,
            "about": (inspect.getdoc(method) or "").splitlines()[0],
            "schema": command_schema(method),
        }
        for name, method in sorted(Octane().commands().items())
    ]


def test_the_example_has_each_command_with_its_schema() -> None:
    assert json.loads(OCTANE_COMMANDS.read_text()) == declared()


async def test_openapi_describes_the_commands_of_an_octane(edge: Any) -> None:
    http: httpx.AsyncClient = edge.http
    document = (await http.get("/openapi.json")).json()

    answer = document["components"]["schemas"]["CommandsList"]["properties"]["commands"]
    names = {each["name"] for each in answer["examples"][0]}
    assert {"start", "set_region", "orbit", "pick", "save_image"} <= names
    assert document["paths"]["/commands"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/CommandsList"
    }


if __name__ == "__main__":
    Path(OCTANE_COMMANDS).write_text(json.dumps(declared(), indent=1) + "\n")
