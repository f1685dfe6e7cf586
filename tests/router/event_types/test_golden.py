"""Tests that the data of the documents' samples are accepted, and that each way to be malformed is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.catalogue import check, find
from router.codec import decode, encode
from router.errors import BadData
from router.event import Event

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def type_and_data(sample: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The real-time guide puts the fields of the data beside the type."""
    kind = sample.get("type") or sample["event_type"]
    return kind, sample["data"] if "data" in sample else {k: v for k, v in sample.items() if k != "type"}


@pytest.mark.parametrize(
    "sample", [each for guide in ("callback-guide", "streaming-guide", "realtime-guide") for each in golden(guide)]
)
def test_the_samples_of_the_documents_are_accepted_as_they_stand(sample: dict[str, Any]) -> None:
    kind, data = type_and_data(sample)
    assert find(kind).schema is not None
    check(kind, data)
    assert decode(encode(Event.new(f"job.1.{kind}", data))).data == data


@pytest.mark.parametrize("sample", golden("malformed"), ids=lambda sample: sample["kind"])
def test_each_way_to_be_malformed_is_refused_with_the_field(sample: dict[str, Any]) -> None:
    with pytest.raises(BadData) as fault:
        encode(Event.new(f"job.1.{sample['type']}", sample["data"]))
    assert fault.value.field == sample["field"]
    encode(Event.new(f"job.1.{sample['type']}_of_mine", sample["data"]))
