"""Tests that the AsyncAPI document is valid, and says of every type how it is published, delivered and stored."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from edge.http.asyncapi import document
from router.catalogue import EventType, all_types, find
from tests.edge.conftest import RunningEdge
from tests.npm import node_with_generators

CHECK = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync("asyncapi.json", "utf8"));
const faults = diagnostics.filter((each) => each.severity <= 1).map(({ message, path }) => `${path.join("/")}: ${message}`);
console.log(JSON.stringify({ faults, messages: document ? document.allMessages().all().length : 0 }));
"""
OWN = EventType(
    "placed",
    "An order.",
    "orders",
    json_schema={"type": "object", "properties": {"lines": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}},
)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere() -> None:
    made = document((*all_types(), OWN))
    resolver = Registry().with_resource("", Resource(made, DRAFT202012)).resolver()
    for reference in set(references(made)):
        resolver.lookup(reference)


def test_a_message_takes_the_event_that_a_reader_is_sent_and_no_malformed_one() -> None:
    made = document(all_types())
    whole = {"$ref": "#/components/messages/progress/payload", "components": made["components"]}
    validator = Draft202012Validator(whole)
    event = {
        "id": "1",
        "event_type": "progress",
        "subject": "agent.run-42.progress",
        "source": "http",
        "timestamp": "2026-11-26T15:00:00.000000Z",
        "data": dict(find("progress").example or {}),
        "cursor": "c",
    }
    assert validator.is_valid(event)
    assert not validator.is_valid({**event, "data": {"progress": 65}})
    assert not validator.is_valid({**event, "event_type": "completion"})


def test_every_message_has_an_example_that_its_schema_allows() -> None:
    made = document(all_types())
    for name, message in made["components"]["messages"].items():
        whole = {"$ref": f"#/components/messages/{name}/payload", "components": made["components"]}
        (example,) = message["examples"]
        faults = [fault.message for fault in Draft202012Validator(whole).iter_errors(example["payload"])]
        assert not faults, (name, example, faults)


def test_an_own_type_s_example_is_the_one_that_its_schema_shows() -> None:
    shown = {"n": 3}
    own = EventType("placed", "An order.", "orders", json_schema={"type": "object", "examples": [shown]})

    (example,) = document([own])["components"]["messages"]["new.orders.placed"]["examples"]
    assert example["payload"]["data"] == shown
    assert "examples" not in document([OWN])["components"]["messages"]["orders.placed"]


def test_every_type_has_a_message_for_each_transport_and_a_channel_on_nats() -> None:
    made = document(all_types())
    for name in ("progress", "council_score_stream", "camera.state"):
        for channel in ("events", "websocket", "sse", "polling", "webhook"):
            assert name in made["channels"][channel]["messages"]
        assert f"store.{name}" in made["operations"]
    assert made["channels"]["nats.progress"]["address"] == "ev.{domain}.{entity}.progress"
    assert made["channels"]["nats.camera.state"]["address"] == "ev.camera.{entity}.state"


async def test_the_edge_serves_the_document(edge: RunningEdge) -> None:
    assert (await edge.http.get("/asyncapi.json")).json() == json.loads(json.dumps(document(all_types())))


@pytest.mark.slow
def test_the_document_is_valid_for_the_parser_of_the_asyncapi_initiative(tmp_path: Path) -> None:
    node = node_with_generators(tmp_path)
    (tmp_path / "asyncapi.json").write_text(json.dumps(document((*all_types(), OWN))))
    (tmp_path / "check.js").write_text(CHECK)
    said = subprocess.run([node, "check.js"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(said.stdout)
    assert found["faults"] == []
    assert found["messages"] > 3 * len(all_types())
