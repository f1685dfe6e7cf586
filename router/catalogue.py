"""Says of each event type what its data are, what may become of its events, and which of them end a run.

Types that nobody registered are allowed: they are events of the class `log` about whose data nothing is known. A type is
registered for one domain (`camera.….state`), or for all that have none of its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from router.errors import BadInput
from router.event_types import own
from router.event_types.alerts import ALERT_TYPES
from router.event_types.declaration import OUTCOMES, REDUCERS, Delivery, EventType, Terminal
from router.event_types.devices import DEVICE_TYPES
from router.event_types.jobs import JOB_TYPES
from router.event_types.metrics import METRIC_TYPES
from router.event_types.runs import RUN_TYPES
from router.event_types.system import SYSTEM_TYPES

__all__ = [
    "OUTCOMES",
    "REDUCERS",
    "RUN_DOMAINS",
    "Delivery",
    "EventType",
    "Terminal",
    "all_types",
    "check",
    "ending",
    "find",
    "find_at",
    "is_registered",
    "load",
    "register",
    "terminal_types",
    "unload",
    "unregister",
]

# Terminal events end something only in these.
RUN_DOMAINS = ("agent", "job", "thread")

# Names that were asked for, with their declarations; forgotten all at once.
MAX_NAMES = 1000


class _Registry:
    """All registered types, by domain and name."""

    def __init__(self, types: Iterable[EventType]) -> None:
        self.types: dict[tuple[str | None, str], EventType] = {}
        # Of names that some domain declares for itself: its declaration, and that for all others.
        self.varied: dict[str, dict[str | None, EventType]] = {}
        # Of all other names that were asked for: one declaration for every domain. Most events need no look but this.
        self.uniform: dict[str, EventType] = {}
        self.add(types)

    def add(self, types: Iterable[EventType]) -> None:
        for each in types:
            self.types[each.domain, each.name] = each
            if each.domain is not None:
                self.varied.setdefault(each.name, {})[each.domain] = each
        self.uniform.clear()

    def remove(self, types: Iterable[EventType]) -> None:
        for each in types:
            del self.types[each.domain, each.name]
            if each.domain is not None:
                del self.varied[each.name][each.domain]
        self.uniform.clear()

    def find(self, type: str, domain: str) -> EventType:
        if (variants := self.varied.get(type)) and (found := variants.get(domain)) is not None:
            return found
        if (found := self.uniform.get(type)) is None:
            found = self.types.get((None, type)) or EventType(type)
            if len(self.uniform) >= MAX_NAMES:
                self.uniform.clear()
            self.uniform[type] = found
        return found


BUILT_IN = (*RUN_TYPES, *JOB_TYPES, *METRIC_TYPES, *ALERT_TYPES, *DEVICE_TYPES, *SYSTEM_TYPES)

_registry = _Registry(BUILT_IN)
# Those that a file has declared.
_loaded: tuple[EventType, ...] = ()


def find(type: str, domain: str = "") -> EventType:
    """The declaration of a type in a domain; a plain one of the class `log` where nobody registered it."""
    return _registry.find(type, domain)


def find_at(type: str, subject: str) -> EventType:
    """The declaration of the type of an event with this subject."""
    # Few names mean something else in another domain; the domain of a subject takes a tenth of a microsecond to read.
    return _registry.find(type, subject[: subject.index(".")] if type in _registry.varied else "")


def is_registered(type: str, domain: str = "") -> bool:
    """Whether somebody registered the type, for this domain or for all."""
    return (None, type) in _registry.types or (domain, type) in _registry.types


def ending(domain: str, type: str, data: Mapping[str, Any]) -> str | None:
    """How an event ends its run: `completed`, `failed` or `cancelled`; None where it ends none."""
    if domain not in RUN_DOMAINS:
        return None
    terminal = _registry.find(type, domain).terminal
    return terminal.outcome(data) if terminal is not None else None


def terminal_types(domain: str) -> tuple[str, ...]:
    """The names of the types whose events may end a run of a domain, sorted."""
    if domain not in RUN_DOMAINS:
        return ()
    return tuple(sorted(
        name for at, name in _registry.types if at in (None, domain) and _registry.find(name, domain).terminal is not None
    ))  # fmt: skip


def check(type: str, data: Mapping[str, Any], domain: str = "") -> None:
    """Raises BadData that names the field where the data are not of their type; a type without a schema takes any."""
    _registry.find(type, domain).check(data)


def all_types() -> tuple[EventType, ...]:
    """All registered types, by name; one for all domains before those of single ones."""
    return tuple(sorted(_registry.types.values(), key=lambda each: (each.name, each.domain or "")))


def register(*types: EventType) -> None:
    """Adds types for this process. Raises BadInput, and adds none, where one of the name and domain is registered."""
    taken = [each for each in types if (each.domain, each.name) in _registry.types]
    if taken:
        names = ", ".join(each.name if each.domain is None else f"{each.domain}.….{each.name}" for each in taken)
        raise BadInput(f"already registered: {names}")
    _registry.add(types)


def load(path: Path) -> tuple[EventType, ...]:
    """Registers the types that a file declares, in place of those that another file did before. Raises BadTypes."""
    global _loaded
    found = own.read(path, set(_registry.types) - {(each.domain, each.name) for each in _loaded})
    _registry.remove(_loaded)
    _registry.add(found)
    _loaded = found
    return found


def unload() -> None:
    """Takes back the types of a file."""
    global _loaded
    _registry.remove(_loaded)
    _loaded = ()


def unregister(*types: EventType) -> None:
    """Takes types back that `register` added; for tests, which share a process."""
    _registry.remove(types)
