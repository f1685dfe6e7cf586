"""Tests what the edge says of event types."""

from __future__ import annotations

import json
import re
from typing import Any

from edge.http.catalogue import console_module
from tests.edge.conftest import RunningEdge


def _exported(module: str, name: str) -> Any:
    found = re.search(rf"export const {name} = new \w+\((.*)\);", module)
    assert found is not None
    return json.loads(found[1])


async def test_the_console_knows_the_types_of_the_catalogue(edge: RunningEdge) -> None:
    answer = await edge.http.get("/console/types.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.text == console_module()
    output = dict(_exported(answer.text, "OUTPUT"))
    assert output["streaming_chunk"]["joined"] and output["streaming_chunk"]["fields"][0] == "content"
    assert output["output"] == {"fields": ["line", "text", "content", "chunk", "delta", "message"], "joined": False}
    assert set(_exported(answer.text, "RUN_DOMAINS")) == {"agent", "job", "thread"}
