"""Defines what an actor is; the author of an actor needs no other module.

An actor takes one message at a time out of a mailbox: events of its subjects (`receive`), the passing of time (`tick`)
and commands (`@command`). No two of them ever run beside one another, so an actor needs no lock.

What its author must know:

- **A crash means amnesia.** Any exception that is not a Reject ends this incarnation; a new one is made and `start`
  runs again. Nothing of the old object is kept. State that matters is rebuilt in `start`, from `ctx.latest(...)` or
  from a bucket. The mailbox outlives the crash, and the event that was in hand comes again.
- **`receive` must be deterministic** in what it emits: the id of an emitted event is made of the cause's id, the
  actor's name and a running number, so that a redelivered event leads to the same ids and JetStream drops the repeats
  (inside its dedup window). Emit the same things in the same order for the same event. Delivery is at least once.
- **Malformed input is a Reject, not a KeyError.** `raise Reject("an order needs a sku")` sends the event to DEADLETTERS
  and the actor lives. An accident costs `attempts` crashes before the event is given up, and more crashes than
  `restart.tries` within `restart.within` end the process.
- A command that raises anything but Reject ends the incarnation too: what it had changed may be half done.
- What takes more than a millisecond of CPU goes through `ctx.offload`; what runs long is a `ctx.source`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, get_type_hints

import msgspec

from router.errors import RouterError
from router.event import Event
from router.subject import check_pattern, distinct, overlap
from router.timing import full_jitter

if TYPE_CHECKING:
    from actors.system.context import Context

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_MARK = "__command__"
# Commands that the runtime itself serves.
REDRIVE = "redrive"
LOG_LEVEL = "log_level"


# JSON's names for what msgspec calls a value.
_TYPE = re.compile(r"`([^`]+)`")
_TYPE_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
}


class Reject(RouterError):
    """the actor cannot use this"""


class BadActor(RouterError, ValueError):
    """an actor is not declared as it should be"""


@dataclass(frozen=True)
class Restart:
    """How often an actor may crash, and the backoff after a crash: more than `tries` within `within` seconds escalate."""

    tries: int = 12
    within: float = 60.0
    base: float = 0.1
    cap: float = 10.0

    def delay(self, attempt: int) -> float:
        """The backoff after the given crash, counted from 1; jittered."""
        return full_jitter(attempt, self.base, self.cap)


def command(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Marks a method as one that others may call: `cmd.<actor>.<instance>.<method>`."""
    setattr(method, _MARK, True)
    return method


class Actor:
    """Something that reacts to events, one at a time."""

    name: ClassVar[str] = ""
    subjects: tuple[str, ...] = ()
    restart: Restart = Restart()
    timeout: float = 30.0
    attempts: int = 5
    every: float | None = None
    # 64 deliveries waiting here: keeps an actor busy over a round trip, and is little to hand back at a shutdown.
    capacity: int = 64
    # Whether people watch its state: the newest event `<name>.<instance>.state` is then kept in the bucket STATES, beside
    # whether the actor lives.
    watched: ClassVar[bool] = False

    instance: str = "main"

    async def start(self, ctx: Context) -> None:
        """Prepares; runs again after each crash."""

    async def receive(self, event: Event, ctx: Context) -> None:
        """Takes one event. Raises Reject for one that is malformed."""
        raise Reject(f"{self.name} receives no events")

    async def tick(self, ctx: Context) -> None:
        """Runs every `every` seconds."""

    async def stop(self, ctx: Context) -> None:
        """Releases what `start` acquired; runs after a crash as well."""

    def commands(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """The commands by name."""
        found = {}
        for name in dir(type(self)):
            if not name.startswith("_") and getattr(getattr(type(self), name), _MARK, False):
                found[name] = getattr(self, name)
        return found


def check(actor: Actor) -> None:
    """Raises BadActor for an actor that could not run."""
    if not _NAME.match(actor.name):
        raise BadActor(f"{type(actor).__name__}.name is {actor.name!r}: an actor needs a name of a-z, 0-9, - and _")
    if actor.capacity < 1 or actor.attempts < 1 or actor.timeout <= 0:
        raise BadActor(f"{actor.name}: capacity, attempts and timeout must be positive")
    if actor.every is not None and actor.every <= 0:
        raise BadActor(f"{actor.name}: every must be positive, or None")
    if isinstance(actor.subjects, str):
        raise BadActor(f"{actor.name}: subjects is a tuple of patterns, not one text")
    if actor.subjects and REDRIVE in actor.commands():
        raise BadActor(f"{actor.name}: the command {REDRIVE} is the runtime's own, which takes dead letters back by it")
    if LOG_LEVEL in actor.commands():
        raise BadActor(
            f"{actor.name}: the command {LOG_LEVEL} is the runtime's own, which changes the level of the log"
        )
    patterns = distinct(check_pattern(pattern) for pattern in actor.subjects)
    for place, one in enumerate(patterns):
        for other in patterns[place + 1 :]:
            if overlap(one, other):
                # JetStream refuses such filters: it could not tell which of them matched a message.
                raise BadActor(f"{actor.name}: the subjects {one} and {other} overlap; write them as one wider pattern")


def arguments(method: Callable[..., Awaitable[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a caller's arguments against a command's signature. Raises Reject: no caller can crash an actor so."""
    signature = inspect.signature(method)
    hints = get_type_hints(method, include_extras=True)
    names = {argument_name(each): each for each in signature.parameters}
    unknown = [name for name in given if name not in names]
    if unknown:
        known = f"; it takes {', '.join(names)}" if names else "; it takes none"
        raise Reject(f"unknown argument {str(unknown[0])[:40]!r}{known}")
    checked: dict[str, Any] = {}
    for name, own in names.items():
        if name not in given:
            if signature.parameters[own].default is inspect.Parameter.empty:
                raise Reject(f"{name} must be given")
            continue
        try:
            checked[own] = msgspec.convert(given[name], hints[own]) if own in hints else given[name]
        except msgspec.ValidationError as fault:
            raise Reject(_requirement(name, str(fault), _choices(msgspec.json.schema(hints[own])))) from None
    return checked


def argument_name(parameter: str) -> str:
    """The name under which callers give a parameter: `pass` for `pass_`, since Python keeps some words to itself."""
    return parameter.removesuffix("_")


def _requirement(name: str, fault: str, choices: str) -> str:
    """Says what an argument must be, in a sentence, instead of what msgspec says of its value."""
    text, _, place = fault.partition(" - at `$")
    where = f"{name}{place.removesuffix('`')}"
    if choices and text.startswith("Invalid enum value"):
        return f"{where} must be one of {choices}, and not {text.removeprefix('Invalid enum value ')}"
    if not text.startswith("Expected "):
        return f"{where} is not valid: {text}"
    wanted, _, got = text.removeprefix("Expected ").partition(", got ")
    sentence = (
        f"{where} must be {_TYPE.sub(_type_words, wanted)}{f', and not {_TYPE.sub(_type_words, got)}' if got else ''}"
    )
    return f"{sentence}; allowed: {choices}" if choices else sentence


def _type_words(quoted: re.Match[str]) -> str:
    return " or ".join(_TYPE_WORDS.get(each, each) for each in quoted[1].split(" | "))


def _choices(schema: Any) -> str:
    """The values that a JSON Schema of an argument enumerates, as a caller may read them; empty where it has none."""
    if isinstance(schema, dict):
        if "enum" in schema:
            return ", ".join(str(value) for value in schema["enum"])
        return next(filter(None, map(_choices, schema.values())), "")
    return next(filter(None, map(_choices, schema)), "") if isinstance(schema, list) else ""
