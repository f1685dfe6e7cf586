"""Reads the settings once at start: from flags, the environment and a file, into frozen dataclasses.

A variable's name is made from the field it sets: `CameraSettings.fps` is `CALLBOARD_CAMERA_FPS`. What a flag says wins over
the environment, that over the file which CALLBOARD_CONFIG names, and that over the default. A part of the settings is
imported only when it is asked for, so that `callboard actor alerts` never loads what a camera needs.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ops.environment import (
    DATA_DIR,
    DEFAULT_DATA_DIR,
    INTERNAL_SOCKET,
    LIFELINE,
    NATS_URL,
    PREFIX,
    READY,
    SOCKET,
    RawValue,
    variables,
)
from ops.register import Ambiguous, Register, Running, absolute, find, folders
from ops.sections import BASE, SECTIONS, CommandSettings, InternalSettings, LogSettings, UpSettings
from ops.values import check_setting, convert
from router.errors import BadTypes

if TYPE_CHECKING:
    from router.nats.embedded import EmbeddedSettings
    from router.nats.settings import BrokerSettings
    from router.topology import TopologySettings

# Groups of settings that commands take from a running `callboard up`.
NATS = "CALLBOARD_NATS_"
KEYS = ("CALLBOARD_JWT_", "CALLBOARD_JWKS_")
INTERNAL = "CALLBOARD_INTERNAL_"

_INTERNAL = frozenset({LIFELINE, SOCKET, INTERNAL_SOCKET, READY, "CALLBOARD_CONFIG"})
_ELSEWHERE = ("CALLBOARD_TEST_", "CALLBOARD_BENCH_")


_SECRET = re.compile(r"password|passphrase|token|secret|creds|private|(^|_)keys?$")


class Mistakes(Exception):
    """the settings have mistakes"""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


class SettingRow(NamedTuple):
    """One line of `callboard settings`."""

    section: str
    variable: str
    value: Any
    source: str
    secret: bool


class _Leaf(NamedTuple):
    path: tuple[str, ...]
    variable: str
    kind: Any
    # How a text of it may be shown, where it holds more than a password (metadata "shown" of the field).
    shown: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured, read once at start."""

    found: Mapping[str, RawValue] = field(default_factory=dict)
    # The `callboard up` that a command is for; of several none, until the command says which.
    running: Running | None = None
    ambiguous: Ambiguous | None = None

    @classmethod
    def load(
        cls, *sections: str, flags: Mapping[str, RawValue] | None = None, adopt: Iterable[str] = (NATS,)
    ) -> Settings:
        """Reads and checks the settings that every command has, and those of the sections; raises Mistakes with all of them.

        `adopt` names groups of settings that are taken from a running `callboard up` where nobody set them.
        """
        lines: list[str] = []
        found = variables()
        for name, value in _config(found, lines).items():
            found.setdefault(name, value)
        found |= flags or {}
        running, ambiguous = None, None
        try:
            if running := _running(found):
                found |= _adopted(running, tuple(adopt), found)
        except Ambiguous as several:
            ambiguous = several
        settings = cls(found, running, ambiguous)
        wanted = dict.fromkeys((*BASE, *sections))
        for name in wanted:
            try:
                settings.section(name)
            except Mistakes as mistakes:
                lines += mistakes.lines
        lines += settings._unknown(wanted)
        lines += settings._event_types()
        if lines:
            raise Mistakes(dict.fromkeys(lines))
        return settings

    @functools.cached_property
    def broker(self) -> BrokerSettings:
        """How NATS is reached. Raises Mistakes where that of one of several running `callboard up` might be meant."""
        if NATS_URL not in self.found:
            self.one_is_meant()
        built: BrokerSettings = self.section("broker")
        return built

    @functools.cached_property
    def embedded(self) -> EmbeddedSettings:
        built: EmbeddedSettings = self.section("embedded")
        return built

    @functools.cached_property
    def topology(self) -> TopologySettings:
        built: TopologySettings = self.section("topology")
        return built

    @functools.cached_property
    def log(self) -> LogSettings:
        built: LogSettings = self.section("log")
        return built

    @functools.cached_property
    def command(self) -> CommandSettings:
        built: CommandSettings = self.section("command")
        return built

    @functools.cached_property
    def up(self) -> UpSettings:
        built: UpSettings = self.section("up")
        return built

    @functools.cached_property
    def internal(self) -> InternalSettings:
        built: InternalSettings = self.section("internal")
        return built

    def section(self, name: str) -> Any:
        """Builds the settings of one part, importing it; raises Mistakes."""
        lines: list[str] = []
        built = self._build(_class_of(name), list(_leaves(name)), (), lines)
        if lines:
            raise Mistakes(lines)
        return built

    def _event_types(self) -> Sequence[str]:
        """Registers a user's own event types for this process; returns the mistakes in their file."""
        try:
            path = self.section("catalogue").event_types
            if path is not None:
                from router import catalogue

                catalogue.load(path)
        except BadTypes as fault:
            return fault.mistakes
        except Mistakes as mistakes:
            return mistakes.lines
        return ()

    def one_is_meant(self) -> None:
        """Raises Mistakes where several `callboard up` run and it was not said which one is meant."""
        if self.ambiguous:
            raise Mistakes([str(self.ambiguous)])

    def register(self) -> Register:
        """Gives the register of running `callboard up`."""
        return _register(self.found)

    def reach(self, *groups: str) -> dict[str, str]:
        """Lists what was set in some groups, for another process in another folder: paths are absolute."""
        return {
            leaf.variable: absolute(leaf.kind, found.text)
            for name in (*BASE, "identity")
            for leaf in _leaves(name)
            if (found := self.found.get(leaf.variable)) and leaf.variable.startswith(groups)
        }

    def was_set(self, variable: str) -> bool:
        """Says whether somebody set the variable, by whatever way."""
        return variable in self.found

    def rows(self, sections: Iterable[str] = ()) -> list[SettingRow]:
        """Lists the settings of some sections, or of all, with value and source; secrets are starred."""
        rows = []
        for name in sections or SECTIONS:
            built = self.section(name)
            for leaf in _leaves(name):
                value = built
                for step in leaf.path:
                    value = getattr(value, step)
                found = self.found.get(leaf.variable)
                secret = _is_hidden(leaf)
                rows.append(
                    SettingRow(
                        name,
                        leaf.variable,
                        _shown(value, secret, leaf.shown),
                        found.source if found else "default",
                        secret,
                    )
                )
        return rows

    def _build(self, cls: type, leaves: list[_Leaf], at: tuple[str, ...], lines: list[str]) -> Any:
        values: dict[str, Any] = {}
        said: dict[str, RawValue] = {}
        for leaf in leaves:
            name = leaf.path[len(at)]
            if len(leaf.path) > len(at) + 1:
                if name not in values:
                    inner = [other for other in leaves if other.path[: len(at) + 1] == (*at, name)]
                    values[name] = self._build(_hints(cls)[name], inner, (*at, name), lines)
                continue
            found = self.found.get(leaf.variable)
            if found is None or found.text == "":
                continue
            said[name] = found
            try:
                values[name] = convert(leaf.kind, found.text)
                check_setting(name, values[name])
            except ValueError as fault:
                text = _shown(found.text, True) if _is_hidden(leaf) else _shown(found.text, False, leaf.shown)
                lines.append(f"{found.said}={text} ({found.source}): {fault}")
        if lines:
            return None
        try:
            return cls(**values)
        except ValueError as fault:
            which = next(((name, found) for name, found in said.items() if name in str(fault)), None)
            if which:
                form = next((leaf.shown for leaf in leaves if leaf.path[-1] == which[0]), None)
                text = "***" if is_secret(which[0]) else str(_shown(which[1].text, False, form))
                lines.append(f"{which[1].said}={text}: {fault}")
            else:
                lines.append(f"{cls.__name__}: {fault}")
            return None

    def _unknown(self, loaded: Iterable[str]) -> Iterator[str]:
        names = {leaf.variable for section in loaded for leaf in _leaves(section)}
        unread = tuple(
            PREFIX + SECTIONS[name].prefix for name in SECTIONS if name not in loaded and SECTIONS[name].prefix
        )
        elsewhere = {
            PREFIX + renamed for name in SECTIONS if name not in loaded for renamed in SECTIONS[name].renamed.values()
        }
        for variable, found in self.found.items():
            if (
                variable in names
                or variable in _INTERNAL
                or variable in elsewhere
                or variable.startswith((*unread, *_ELSEWHERE))
            ):
                continue
            # A name that begins like a part which is not loaded here is checked by the process that loads it.
            close = difflib.get_close_matches(variable, names, 1, 0.75)
            hint = f"; did you mean {close[0]}?" if close else "; `callboard settings` lists those there are"
            yield f"{found.said} ({found.source}): there is no such setting{hint}"


def is_secret(name: str) -> bool:
    """Says whether a setting of this name is never to be shown."""
    return bool(_SECRET.search(name.lower()))


def _is_hidden(leaf: _Leaf) -> bool:
    """Whether a setting holds a secret; a switch or a path that is named like one does not."""
    return is_secret(leaf.path[-1]) and leaf.kind in (str, str | None)


def _shown(value: object, secret: bool, form: Callable[[str], str] | None = None) -> object:
    if secret:
        return "***" if value else None
    if form is not None:
        return tuple(map(form, value)) if isinstance(value, tuple) else form(str(value))
    if isinstance(value, str) and "@" in value and "://" in value:
        return re.sub(r"://[^@/]*@", "://***@", value)
    if isinstance(value, Enum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, Path):
        return str(value)
    return value


def _class_of(name: str) -> type:
    module, _, attribute = SECTIONS[name].where.partition(":")
    found: type = getattr(importlib.import_module(module), attribute)
    return found


@functools.cache
def _leaves(name: str) -> tuple[_Leaf, ...]:
    section = SECTIONS[name]
    return tuple(_fields(_class_of(name), (), PREFIX + section.prefix, section.renamed))


def _fields(cls: type, path: tuple[str, ...], prefix: str, renamed: Mapping[str, str]) -> Iterator[_Leaf]:
    hints = _hints(cls)
    for one in dataclasses.fields(cls):
        kind = hints[one.name]
        variable = PREFIX + renamed[one.name] if one.name in renamed else prefix + one.name.upper()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from _fields(kind, (*path, one.name), variable + "_", {})
        elif one.init and _settable(kind):
            yield _Leaf((*path, one.name), variable, kind, one.metadata.get("shown"))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _settable(kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return all(_settable(arg) for arg in args if arg is not type(None))
    if origin in (tuple, list):
        return all(_settable(arg) for arg in args if arg is not Ellipsis)
    if origin is Literal:
        return True
    return kind in (bool, int, float, str, Path) or (isinstance(kind, type) and issubclass(kind, Enum))


def _config(found: Mapping[str, RawValue], lines: list[str]) -> dict[str, RawValue]:
    """Reads the file that CALLBOARD_CONFIG names: NAME=value lines, # comments, quotes, `export` in front or not."""
    if "CALLBOARD_CONFIG" not in found:
        return {}
    path = Path(found["CALLBOARD_CONFIG"].text).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        lines.append(f"CALLBOARD_CONFIG={path}: {getattr(fault, 'strerror', None) or 'not a text file'}")
        return {}
    read: dict[str, RawValue] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not re.fullmatch(r"CALLBOARD_[A-Z0-9_]+", name):
            lines.append(f"{path}:{number}: needs CALLBOARD_NAME=value")
            continue
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        value = value[1:-1] if quoted else value.split(" #")[0].rstrip()
        read[name] = RawValue(value, f"{path}:{number}", name)
    return read


def _register(found: Mapping[str, RawValue]) -> Register:
    given = found.get("CALLBOARD_RUNTIME_DIR")
    return Register(folders(Path(given.text).expanduser().absolute() if given and given.text else None, os.environ))


def _running(found: Mapping[str, RawValue]) -> Running | None:
    named = DATA_DIR in found
    folder = Path(found[DATA_DIR].text if named else DEFAULT_DATA_DIR).expanduser()
    return find(folder, named, _register(found))


def _adopted(running: Running, groups: tuple[str, ...], found: Mapping[str, RawValue]) -> dict[str, RawValue]:
    """Takes groups of settings from a running `callboard up`, each whole or not at all: no password for another server."""
    if NATS in groups and NATS_URL in found:
        return {}
    wanted = [group for group in groups if not any(name.startswith(group) for name in found) or group == NATS]
    return {
        name: RawValue(text, "a running `callboard up`", name)
        for name, text in running.settings.items()
        if name.startswith(tuple(wanted)) and name not in found
    }
