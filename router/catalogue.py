"""Says of each event type what its data are, what may become of its events, and which of them end a run.

Types that nobody registered are allowed: they are events of the class `log` about whose data nothing is known. A type is
registered for one domain (`camera.….state`), or for all that have none of its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from router.errors import BadInput
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
    "is_intermediate",
    "register",
    "terminal_types",
    "unregister",
]

# Terminal events end something only in these.
RUN_DOMAINS = ("agent", "job", "thread")

# Types that were asked for and not found, so that each is made once; forgotten all at once.
MAX_UNKNOWN = 1000


class _Registry:
    """All registered types, by name and then by domain."""

    def __init__(self, types: Iterable[EventType]) -> None:
        self.types: dict[tuple[str | None, str], EventType] = {}
        self.everywhere: dict[str, EventType] = {}
        # Names that some domain has declared for itself.
        self.own: dict[str, dict[str, EventType]] = {}
        self.unknown: dict[str, EventType] = {}
        self.add(types)

    def add(self, types: Iterable[EventType]) -> None:
        for each in types:
            self.types[each.domain, each.name] = each
            self.unknown.pop(each.name, None)
            if each.domain is None:
                self.everywhere[each.name] = each
            else:
                self.own.setdefault(each.name, {})[each.domain] = each

    def remove(self, types: Iterable[EventType]) -> None:
        for each in types:
            del self.types[each.domain, each.name]
            if each.domain is None:
                del self.everywhere[each.name]
                continue
            del self.own[each.name][each.domain]
            if not self.own[each.name]:
                del self.own[each.name]

    def find(self, type: str, domain: str) -> EventType:
        if type in self.own and (found := self.own[type].get(domain)) is not None:
            return found
        known = self.everywhere.get(type) or self.unknown.get(type)
        return known if known is not None else self._plain(type)

    def _plain(self, type: str) -> EventType:
        if len(self.unknown) >= MAX_UNKNOWN:
            self.unknown.clear()
        made = self.unknown[type] = EventType(type)
        return made


BUILT_IN = (*RUN_TYPES, *JOB_TYPES, *METRIC_TYPES, *ALERT_TYPES, *DEVICE_TYPES, *SYSTEM_TYPES)

_registry = _Registry(BUILT_IN)


def find(type: str, domain: str = "") -> EventType:
    """The declaration of a type in a domain; a plain one of the class `log` where nobody registered it."""
    return _registry.find(type, domain)


def is_registered(type: str, domain: str = "") -> bool:
    """Whether somebody registered the type, for this domain or for all."""
    return type in _registry.everywhere or domain in _registry.own.get(type, ())


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


def is_intermediate(type: str, domain: str = "") -> bool:
    """Whether events of the type are partial results."""
    return _registry.find(type, domain).intermediate


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


def unregister(*types: EventType) -> None:
    """Takes types back that `register` added; for tests, which share a process."""
    _registry.remove(types)
