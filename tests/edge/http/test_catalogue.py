"""Tests what the edge says of event types."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator

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


async def test_the_schemas_of_all_types_are_listed_and_read_one_by_one(edge: RunningEdge) -> None:
    types = {(each["domain"], each["name"]): each for each in (await edge.http.get("/schemas")).json()["types"]}
    progress = await edge.http.get("/schemas/progress")
    camera = await edge.http.get("/schemas/state?domain=camera")

    assert types[None, "campaign_metrics"]["key"] == ["campaignId"]
    assert (types[None, "token"]["delivery"], types[None, "token"]["text"]) == ("append", "content")
    assert types[None, "job_progress"]["terminal"] and types["camera", "state"]["delivery"] == "latest"
    assert progress.headers["content-type"] == "application/schema+json"
    assert progress.json() == types[None, "progress"]["data"]
    assert camera.json() == types["camera", "state"]["data"] != types[None, "state"]["data"]
    for each in types.values():
        Draft202012Validator.check_schema(each["data"])


async def test_a_type_that_nobody_registered_has_no_schema(edge: RunningEdge) -> None:
    unknown = await edge.http.get("/schemas/never_heard_of")
    ambiguous = await edge.http.get("/schemas/firing?domain=orders")
    only = await edge.http.get("/schemas/firing")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "type_not_found")
    assert ambiguous.status_code == 404 and "alert" in ambiguous.json()["detail"]
    assert only.status_code == 200
