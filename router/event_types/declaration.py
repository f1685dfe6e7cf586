"""Defines what is declared of an event type, and how a type's data are checked against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from router.errors import BadData
from router.event_types.examples import EXAMPLES
from router.event_types.fields import Shares


class Delivery(Enum):
    """What may become of an event when a reader is slower than its source."""

    LOG = "log"  # every one, in order
    LATEST = "latest"  # the newest of a key stands for those before it
    APPEND = "append"  # deltas of one text, may be joined
    EPHEMERAL = "ephemeral"  # may be dropped


TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")

# How a field is merged where one event stands for a window of them.
REDUCERS = frozenset({"sum", "last", "max", "concat"})

COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
OUTCOMES = frozenset({COMPLETED, FAILED, CANCELLED})

# Fields that name the step that an event is part of: the end of a step does not end its run.
PARENTS = ("parent_id", "parent_run_id", "parentId", "parent")


@dataclass(frozen=True, slots=True)
class Terminal:
    """When an event of a type ends its run, and how the run then ended.

    Without `fields` each event does, and `outcome_of` reads from its data how. With them, an event ends the run where one
    of the fields has a value that is named here, with the outcome beside it. An event with one of `unless` set never does.
    """

    fields: Mapping[str, Mapping[str | bool, str]] = field(default_factory=dict)
    unless: tuple[str, ...] = ()

    def outcome(self, data: Mapping[str, Any]) -> str | None:
        """`completed`, `failed` or `cancelled`; None for an event that ends nothing."""
        if self.unless and any(data.get(name) is not None for name in self.unless):
            return None
        if not self.fields:
            return outcome_of(data)
        for name, outcomes in self.fields.items():
            said = data.get(name)
            if isinstance(said, (str, bool)) and (found := outcomes.get(said)) is not None:
                return found
        return None


def outcome_of(data: Mapping[str, Any]) -> str:
    """Reads from a completion how the run ended: by `success`; without that, `status` and `error` say it."""
    success, said = data.get("success"), data.get("status")
    cancelled = said in ("cancelled", "canceled", "stopped") or data.get("cancelled") is True
    if not isinstance(success, bool):
        success = not cancelled and said not in ("failed", "error") and not data.get("error")
    if success:
        return COMPLETED
    return CANCELLED if cancelled else FAILED


@dataclass(frozen=True, slots=True, eq=False)
class EventType:
    """One type of events. `domain` None stands for every domain that declares no type of this name for itself.

    `schema` names the fields that are known; others are allowed and kept. A user's own type may have a `json_schema` in its
    place; where it carries progress, the fields of `Shares` are checked besides. `key` are the data fields that, with the
    subject, make the conflation key. `text` is the field that APPEND joins, and that adds to the text of a run; `other_texts`
    are looked for where it is missing. `reduce` says per field (`a.b` for one inside another) how a window of events is
    merged. `either` are fields of which one must be there.
    """

    name: str
    summary: str = ""
    domain: str | None = None
    schema: type[msgspec.Struct] | None = None
    delivery: Delivery = Delivery.LOG
    key: tuple[str, ...] = ()
    text: str | None = None
    other_texts: tuple[str, ...] = ()
    intermediate: bool = False
    progress: bool = False
    reduce: Mapping[str, str] = field(default_factory=dict)
    terminal: Terminal | None = None
    either: tuple[str, ...] = ()
    # What the Struct cannot check: raises BadData.
    also: Callable[[Mapping[str, Any]], None] | None = None
    # JSON Schema of what is checked in code.
    conditions: Mapping[str, Any] = field(default_factory=dict)
    json_schema: Mapping[str, Any] | None = None

    @property
    def example(self) -> Mapping[str, Any] | None:
        """Data as a document shows them."""
        return EXAMPLES.get(self.name) if self.domain is None else None

    def ending(self, data: Mapping[str, Any]) -> str | None:
        """How an event with these data ends its run: `completed`, `failed`, `cancelled`, or None where it does not."""
        return self.terminal.outcome(data) if self.terminal is not None else None

    def text_field(self, data: Mapping[str, Any]) -> str | None:
        """The name of the field with the text that the event adds; None where it has none."""
        if self.text is None:
            return None
        if isinstance(data.get(self.text), str):
            return self.text
        return next((name for name in self.other_texts if isinstance(data.get(name), str)), None)

    def key_of(self, data: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of the key fields, each also looked for in snake_case; None for one that is missing."""
        return tuple(data[name] if name in data else data.get(snake(name)) for name in self.key)

    def check(self, data: Mapping[str, Any]) -> None:
        """Raises BadData that names the field where the data are not of this type."""
        if self.schema is None:
            return
        try:
            msgspec.convert(data, self.schema)
            if self.progress and self.json_schema is not None:
                msgspec.convert(data, Shares)
        except msgspec.ValidationError as fault:
            if isinstance(fault.__cause__, BadData):
                raise BadData(fault.__cause__.field, fault.__cause__.reason, self.name) from None
            if not str(fault).endswith(_KEY_FAULT):
                raise BadData(*_read(str(fault)), self.name) from None
            # A field whose name is no text is none of those that the type knows.
            self.check({name: value for name, value in data.items() if isinstance(name, str)})
        if self.also is not None:
            try:
                self.also(data)
            except BadData as fault:
                raise BadData(fault.field, fault.reason, self.name) from None
        if self.either:
            for name in self.either:
                if data.get(name) is not None:
                    return
            raise BadData(self.either[0], f"one of {', '.join(self.either)} must be there", self.name)


_KEY_FAULT = " - at `key` in `$`"
_PLACE = re.compile(r" - at `(?P<path>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")


def _read(fault: str) -> tuple[str, str]:
    """The field and the reason in a text of msgspec's: `Expected `float`, got `str` - at `$.progress``."""
    place = _PLACE.search(fault)
    path = place["path"].removeprefix("$").removeprefix(".") if place is not None else ""
    reason = fault[: place.start()] if place is not None else fault
    if missing := _MISSING.match(reason):
        return f"{path}.{missing['field']}".removeprefix("."), "it is missing"
    return path, (reason[:1].lower() + reason[1:]).replace("`", "")


_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake(name: str) -> str:
    """`campaignId` as `campaign_id`."""
    return _HUMP.sub("_", name).lower()
