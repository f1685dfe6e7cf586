"""Tests what a file of one's own event types declares, and that all its mistakes are told at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from router import catalogue
from router.catalogue import Delivery
from router.codec import encode
from router.errors import BadData, BadTypes
from router.event import Event
from router.event_types.json_schema import data_schema
from router.event_types.own import MAX_BYTES, read

SHOP = """
types:
  - name: order_placed
    domain: orders
    summary: An order was placed.
    schema:
      type: object
      required: [sku]
      properties: {sku: {type: string}, qty: {type: integer, minimum: 1}}
    delivery: latest
    key: [sku]
    reduce: {qty: sum}
  - name: build
    terminal: {state: {green: completed, red: failed}}
    progress: true
  - {name: said, delivery: append, text: words, intermediate: true, terminal: false}
"""
WRONG = """
more: 1
types:
  - name: Bad-Name
  - {name: a, domain: system, delivery: sometimes, key: sku, colour: red}
  - {name: b, delivery: append, reduce: {x: mean}, terminal: {state: {green: fine}}, progress: "yes"}
  - {name: c, schema: {properties: {n: {type: int}}}}
  - {name: c}
  - {name: token}
  - 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "types.yaml"
    catalogue.unload()


def test_the_types_of_a_file_are_known_to_this_process(file: Path) -> None:
    file.write_text(SHOP)
    placed, build, said = catalogue.load(file)

    assert catalogue.find("order_placed", "orders") is placed and placed.delivery is Delivery.LATEST
    assert catalogue.ending("job", "build", {"state": "red"}) == "failed"
    assert catalogue.ending("job", "build", {"state": "yellow"}) is None and build.progress
    assert (said.text, said.intermediate, said.terminal) == ("words", True, None)
    with pytest.raises(BadData, match=r"order_placed: data.qty: expected int >= 1"):
        encode(Event.new("orders.1.order_placed", {"sku": "tea", "qty": 0}))
    assert Event.new("orders.1.order_placed", {"sku": "tea"}).conflation_key == "orders.1.order_placed\0tea"


def test_json_is_read_too_and_another_file_takes_the_place_of_the_first(file: Path) -> None:
    file.write_text(SHOP)
    catalogue.load(file)
    file.write_text(json.dumps({"types": [{"name": "said"}]}))
    catalogue.load(file)

    assert not catalogue.is_registered("build")
    assert catalogue.find("said").delivery is Delivery.LOG


def test_all_mistakes_are_told_at_once_and_nothing_is_registered(file: Path) -> None:
    file.write_text(WRONG)
    with pytest.raises(BadTypes) as fault:
        catalogue.load(file)

    told = [line.removeprefix(f"{file}: ") for line in fault.value.mistakes]
    assert [line.split(": ")[0] for line in told] == [
        "more", "types[0].name", "types[1] a.colour", "types[1] a.domain", "types[1] a.delivery", "types[1] a.key",
        "types[2] b.text", "types[2] b.progress", "types[2] b.reduce.x", "types[2] b.terminal.state.green",
        "types[3] c.schema.properties.n.type", "types[4] c", "types[5] token", "types[6]",
    ]  # fmt: skip
    assert not catalogue.is_registered("a")


def test_what_no_data_could_match_and_fields_that_a_schema_does_not_have_are_mistakes(file: Path) -> None:
    file.write_text("""
types:
  - {name: a, schema: {properties: {x: {type: string, pattern: "("}}}}
  - {name: b, schema: {properties: {x: {type: integer, minimum: 5, maximum: 2}, y: {type: string}}}}
  - name: c
    delivery: append
    text: words
    key: [sku, x]
    reduce: {qty: sum, x: last, o.n: sum, o.m: sum, m.any: sum}
    schema: {properties: {x: {type: string}, o: {type: object, properties: {n: {type: number}}}, m: {type: object}}}
  - {name: Bad-Name, key: sku, schema: {properties: {x: {type: string, pattern: "["}}}}
  - {name: d, progress: true, reduce: {progress: max}, schema: {properties: {state: {type: string}}}}
""")
    with pytest.raises(BadTypes) as fault:
        catalogue.load(file)

    told = [line.removeprefix(f"{file}: ") for line in fault.value.mistakes]
    assert [line.split(": ")[0] for line in told] == [
        "types[0] a.schema.properties.x", "types[1] b.schema.properties.x", "types[2] c.key", "types[2] c.reduce.qty",
        "types[2] c.reduce.o.m", "types[2] c.text", "types[3].name", "types[3].schema.properties.x", "types[3].key",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "more", [", ", ", schema: {properties: {state: {type: string}}}, "], ids=["plain", "with a schema"]
)
def test_the_progress_of_a_type_that_carries_it_is_checked(file: Path, more: str) -> None:
    file.write_text("types: [{name: build" + more + "progress: true}]")
    (build,) = catalogue.load(file)

    for data in ({"progress": "x"}, {"progress": 7}, {"progress": -3}):
        with pytest.raises(BadData, match=r"build: data\.progress: "):
            encode(Event.new("job.1.build", data))
    encode(Event.new("job.1.build", {"progress": 0.5, "state": "green", "other": 1}))
    encode(Event.new("job.1.build", {"progress": 50, "percent": True}))
    assert Draft202012Validator(data_schema(build)).is_valid({"progress": 0.5})
    assert not Draft202012Validator(data_schema(build)).is_valid({"progress": 7})


def test_a_type_of_callboard_s_own_cannot_be_declared_anew(file: Path) -> None:
    file.write_text("types: [{name: progress}, {name: progress, domain: orders}]")
    with pytest.raises(BadTypes, match="progress: Callboard declares this type itself"):
        catalogue.load(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "needs `types`"), ("types: [", "not YAML"), ("- a", "needs `types`"), ("types: 1", "needs")],
)
def test_what_is_no_such_file_is_said(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(BadTypes, match=reason):
        read(file)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("#" * (MAX_BYTES + 1))
    (tmp_path / "latin").write_bytes(b"\xe9")
    for name, reason in (("missing", "No such file"), ("large", "more than"), ("latin", "UTF-8"), ("", "directory")):
        with pytest.raises(BadTypes, match=reason):
            read(tmp_path / name)
