"""What tests of folding dialects share: records of a run, and the bytes that a reader gets of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import Ending, Folding, endless
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Batch
from router.codec import encode
from router.event import Event
from router.position import of_one
from router.record import Record

EPOCH = "5f3a9c1e"
TIME = 1_700_000_000_123_456_789


def records_of(*events: tuple[str, Mapping[str, Any]], subject: str = "agent.run-42", first: int = 1) -> list[Record]:
    """Events of one run, a second apart, at the sequences from `first` on; their ids are `e<sequence>`."""
    made = []
    for sequence, (kind, data) in enumerate(events, first):
        event = Event.new(
            f"{subject}.{kind}", data, id=f"e{sequence}", source="t", time_ns=TIME + sequence * 1_000_000_000
        )
        made.append(Record(sequence, str(event.subject), encode(event), check=sequence))
    return made


def written(
    dialect: FoldedDialect,
    records: Sequence[Record],
    after: int = 0,
    ending: Ending = endless,
    parameters: Mapping[str, str] = {"run": "run-42"},
    sizes: Sequence[int] = (),
    had: int = 0,
) -> bytes:
    """What a reader is sent of some records, in batches of these sizes, whose client has everything up to `after`.

    Of the event there it has the first `had` parts, where these are not all.
    """
    encoder = FoldingSseEncoder(Folding(dialect, parameters, of_one(after) if after else None, ending, had))
    said, rest = b"", list(records)
    for size in (*sizes, len(rest)):
        batch, rest = rest[:size], rest[size:]
        said += encoder.encode(Batch(batch, EPOCH)) if batch else b""
    return said


class EventSourceClient:
    """What a client knows of a stream that it reads by the standard: the events it was handed, and its last event id."""

    def __init__(self) -> None:
        self.last = ""
        self.events: list[tuple[str, str]] = []
        self._rest = b""
        self._fields: dict[str, str] = {}

    def feed(self, some: bytes) -> None:
        """Takes bytes, however they are cut."""
        *lines, self._rest = (self._rest + some).split(b"\n")
        for line in lines:
            name, _, value = line.decode().partition(": ")
            if name:
                self._fields[name] = value
                continue
            self.last = self._fields.get("id", self.last)
            if "data" in self._fields:
                self.events.append((self._fields.get("event", "message"), self._fields["data"]))
            self._fields = {}
