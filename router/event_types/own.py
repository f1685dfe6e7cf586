"""Reads a user's own event types from a file of YAML or JSON, and tells all its mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from router import yaml_keys
from router.errors import BadTypes
from router.event_types.compiled import Compiler
from router.event_types.declaration import OUTCOMES, REDUCERS, TYPE_NAME, Delivery, EventType, Terminal
from router.event_types.fields import SHARES, Shares

# 1 MiB, and 1,000 types: more than a person looks after.
MAX_BYTES = 1024 * 1024
MAX_TYPES = 1000
# Enough to mend a file by; a file that is none has a mistake in each line.
MAX_MISTAKES = 100

_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_KEYS = (
    "name", "domain", "summary", "schema", "delivery", "key", "text", "intermediate", "progress", "terminal", "reduce",
)  # fmt: skip


# What a type with `progress: true` has besides its schema.
PROGRESS_FIELDS = frozenset(Shares.__struct_fields__)


@dataclass(frozen=True)
class CatalogueSettings:
    """The file with a user's own event types; without it there are only those of Callboard."""

    event_types: Path | None = None


def read(path: Path, taken: Container[tuple[str | None, str]] = ()) -> tuple[EventType, ...]:
    """The types that a file declares; `taken` are domains and names that it may not. Raises BadTypes with all mistakes."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise BadTypes([f"{path}: it has more than {MAX_BYTES} bytes"])
        given = yaml_keys.load(text.decode())
    except OSError as fault:
        raise BadTypes([f"{path}: {fault.strerror or fault}"]) from None
    except UnicodeDecodeError:
        raise BadTypes([f"{path}: not a text file in UTF-8"]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise BadTypes([f"{path}: not YAML: {' '.join(str(fault).split())}"]) from None
    return _Reader(str(path), taken).read(given)


class _Reader:
    """Reads what a file holds, and notes each mistake with its place."""

    def __init__(self, file: str, taken: Container[tuple[str | None, str]]) -> None:
        self._file = file
        self._taken = taken
        self._mistakes: list[str] = []

    def _mistake(self, place: str, reason: str) -> None:
        if len(self._mistakes) < MAX_MISTAKES:
            self._mistakes.append(f"{self._file}: {place}: {reason}")

    def read(self, given: Any) -> tuple[EventType, ...]:
        listed = given.get("types") if isinstance(given, Mapping) else None
        if not isinstance(listed, list) or len(listed) > MAX_TYPES:
            raise BadTypes([f"{self._file}: it needs `types`, a list of at most {MAX_TYPES}"])
        for word in given:
            if word != "types":
                self._mistake(str(word), "there is nothing but `types`")
        found: dict[tuple[str | None, str], EventType] = {}
        for at, each in enumerate(listed):
            made = self._type(each, f"types[{at}]")
            if made is None:
                continue
            place, name = f"types[{at}] {made.name}", (made.domain, made.name)
            if name in self._taken:
                self._mistake(place, "Callboard declares this type itself")
            if name in found:
                self._mistake(place, "it is declared twice")
            found[name] = made
        if self._mistakes:
            raise BadTypes(self._mistakes)
        return tuple(found.values())

    def _type(self, given: Any, place: str) -> EventType | None:
        if not isinstance(given, Mapping):
            self._mistake(place, "it must be a map")
            return None
        name, domain = given.get("name"), given.get("domain")
        if not isinstance(name, str) or not TYPE_NAME.match(name):
            self._mistake(f"{place}.name", "it needs lower-case letters, digits and _, at most 64")
            name = None
        else:
            place = f"{place} {name}"
        for word in given:
            if word not in _KEYS:
                self._mistake(f"{place}.{word}", f"there is no such field; there are {', '.join(_KEYS)}")
        if domain is not None and (not isinstance(domain, str) or not _DOMAIN.match(domain) or domain == "system"):
            self._mistake(f"{place}.domain", "it needs letters, digits, - and _, and not system")
            domain = None
        schema = given.get("schema")
        struct = self._schema(name or "unnamed", schema, f"{place}.schema") if schema is not None else None
        text = self._text(given, "text", place)
        delivery = self._delivery(given.get("delivery", "log"), f"{place}.delivery")
        if delivery is Delivery.APPEND and text is None:
            self._mistake(f"{place}.text", "append needs the field whose text is joined")
        progress = self._flag(given, "progress", place)
        shares = progress and schema is None
        key = self._names(given.get("key", []), f"{place}.key")
        reduce = self._reduce(given.get("reduce", {}), f"{place}.reduce")
        if struct is not None and isinstance(schema, Mapping):
            self._known(schema, [(f"{place}.key", field) for field in key], progress)
            self._known(schema, [(f"{place}.reduce.{field}", str(field)) for field in reduce], progress)
            self._known(schema, [(f"{place}.text", text)] if text is not None else [], progress)
        made = EventType(
            name or "unnamed",
            self._text(given, "summary", place) or f"{name}, one of your own.",
            domain,
            Shares if shares else struct,
            delivery,
            key,
            text,
            intermediate=self._flag(given, "intermediate", place),
            progress=progress,
            reduce=reduce,
            terminal=self._terminal(given.get("terminal", False), f"{place}.terminal"),
            conditions=SHARES if shares else {},
            json_schema=schema if struct is not None else None,
        )
        return made if name is not None else None

    def _known(self, schema: Mapping[str, Any], fields: list[tuple[str, str]], progress: bool) -> None:
        """Notes each field (`a.b` for one inside another) that a schema with properties does not have."""
        for place, field in fields:
            inner: Any = schema
            for at, name in enumerate(field.split(".")):
                properties = inner.get("properties") if isinstance(inner, Mapping) else None
                # A part that is described in another way may have any field.
                if not isinstance(properties, Mapping) or not properties:
                    break
                if name not in properties:
                    if at or not (progress and name in PROGRESS_FIELDS):
                        self._mistake(place, f"{field!r} is not among the properties of the schema")
                    break
                inner = properties[name]

    def _schema(self, name: str, schema: Any, place: str) -> Any:
        if not isinstance(schema, Mapping):
            self._mistake(place, "it must be a JSON Schema of an object")
            return None
        return Compiler(
            name, schema, lambda at, reason: self._mistake(f"{place}.{at}" if at else place, reason)
        ).compile()

    def _text(self, given: Mapping[str, Any], word: str, place: str) -> str | None:
        value = given.get(word)
        if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 1000):
            self._mistake(f"{place}.{word}", "it must be a text")
            return None
        return value

    def _flag(self, given: Mapping[str, Any], word: str, place: str) -> bool:
        value = given.get(word, False)
        if not isinstance(value, bool):
            self._mistake(f"{place}.{word}", "it must be true or false")
        return value is True

    def _delivery(self, value: Any, place: str) -> Delivery:
        try:
            return Delivery(value)
        except ValueError:
            self._mistake(place, f"it must be one of {', '.join(each.value for each in Delivery)}")
            return Delivery.LOG

    def _names(self, value: Any, place: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value) or len(value) > 8:
            self._mistake(place, "it must be a list of at most 8 fields")
            return ()
        return tuple(value)

    def _reduce(self, value: Any, place: str) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            self._mistake(place, "it must be a map from a field to how it is merged")
            return {}
        for field, how in value.items():
            if not isinstance(field, str) or how not in REDUCERS:
                self._mistake(f"{place}.{field}", f"it must be one of {', '.join(sorted(REDUCERS))}")
        return dict(value)

    def _terminal(self, value: Any, place: str) -> Terminal | None:
        """`true`: each event ends its run. `{status: {finished: completed}}`: those with that value in that field do."""
        if isinstance(value, bool):
            return Terminal() if value else None
        if not isinstance(value, Mapping) or not value:
            self._mistake(place, "it must be true, false, or a map from a field to its values and how they end a run")
            return None
        for field, outcomes in value.items():
            if not isinstance(field, str) or not isinstance(outcomes, Mapping):
                self._mistake(
                    f"{place}.{field}", f"it must be a map from a value to one of {', '.join(sorted(OUTCOMES))}"
                )
                return None
            for said, outcome in outcomes.items():
                if not isinstance(said, (str, bool)) or outcome not in OUTCOMES:
                    self._mistake(f"{place}.{field}.{said}", f"it must be one of {', '.join(sorted(OUTCOMES))}")
        return Terminal({field: dict(outcomes) for field, outcomes in value.items()})
