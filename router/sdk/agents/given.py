"""Reads what an agent is given to do: the fields that a client sent, and the messages of a chat in them, whatever protocol it speaks."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from router.errors import BadInput

# As LangChain calls them.
_ROLES = {"human": "user", "ai": "assistant"}
# Fields that have a text where there are no messages: of the agent-run guide's clients, of the callback guide's, of others.
_TEXTS = ("message", "prompt", "input", "text", "query", "question", "content")

Reads = Callable[[Any], Any]


@dataclass(frozen=True)
class AgentMessage:
    """One message of a chat. `raw` is the message as the client sent it, with its ids, files and uses of tools."""

    role: str
    text: str
    raw: Mapping[str, Any]


class AgentInput(Mapping[str, Any]):
    """What a run is started with: a mapping of the fields that the client sent, and its messages.

    The AI SDK sends `messages` with parts; AG-UI `messages`, `state`, `tools` and `context`; LangGraph `input` with messages, and
    `config`; clients of the agent-run guide fields of their own, such as `prompt`.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Raises BadInput where the messages are none."""
        self._fields = dict(fields)
        inner = self._fields.get("input")
        said = self._fields.get("messages")
        if said is None and isinstance(inner, Mapping):
            said = inner.get("messages")
        self.messages: tuple[AgentMessage, ...] = _messages(said)

    @classmethod
    def read(cls, value: Any) -> AgentInput:
        """Raises BadInput."""
        if value is None:
            return cls({})
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise BadInput("input must be an object")
        return cls(value)

    @property
    def text(self) -> str:
        """The text of the last message that is the user's; without messages, that of `message`, `prompt` or the like; else empty."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        inner = self._fields.get("input")
        for fields in (self._fields, inner if isinstance(inner, Mapping) else {}):
            for name in _TEXTS:
                if isinstance(said := fields.get(name), str) and said:
                    return said
        return ""

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"AgentInput({self._fields!r})"


def _messages(said: Any) -> tuple[AgentMessage, ...]:
    if said is None:
        return ()
    if not isinstance(said, Sequence) or isinstance(said, str | bytes):
        raise BadInput("input.messages must be a list of messages")
    return tuple(_message(place, each) for place, each in enumerate(said))


def _message(place: int, said: Any) -> AgentMessage:
    if not isinstance(said, Mapping):
        raise BadInput(f"input.messages[{place}] must be an object")
    role = said.get("role") or said.get("type")
    if not isinstance(role, str):
        raise BadInput(f"input.messages[{place}].role must be a text, such as user")
    return AgentMessage(_ROLES.get(role, role), _text(said), said)


def _text(said: Mapping[str, Any]) -> str:
    """The text of a message: its content, or that of its parts of the type `text`, one per line."""
    for content in (said.get("parts"), said.get("content")):
        if isinstance(content, str):
            return content
        if isinstance(content, Sequence):
            parts = [part for part in content if isinstance(part, Mapping) and part.get("type", "text") == "text"]
            return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return ""


def reader_for(function: Callable[..., Any]) -> Reads:
    """What reads the input of a function, by the annotation of its second parameter.

    `str` is the user's text; a msgspec Struct, a dataclass or a TypedDict has the fields checked and converted; without one, and
    for a mapping, it is an AgentInput. Raises BadInput where the function cannot be given an input, or not of this kind.
    """
    kind = _annotation(function)
    if (
        kind in (None, Any, AgentInput)
        or typing.get_origin(kind)
        or (isinstance(kind, type) and issubclass(kind, dict | Mapping) and not typing.is_typeddict(kind))
    ):
        return AgentInput.read
    if kind is str:
        return _read_text
    try:
        msgspec.json.schema(kind)
    except (TypeError, RuntimeError) as fault:
        raise BadInput(f"an agent's input cannot be of the type {kind!r}: {fault}") from None

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert({} if value is None else value, kind)
        except msgspec.ValidationError as fault:
            raise BadInput(f"input: {fault}") from None

    return convert


def _read_text(value: Any) -> str:
    text = AgentInput.read(value).text
    if not text.strip():
        raise BadInput("input needs a message with a text")
    return text


def _annotation(function: Callable[..., Any]) -> Any:
    """The annotation of the second parameter, None where it has none. Only that one is evaluated: others may need imports."""
    plain = function if isinstance(function, types.FunctionType | types.MethodType) else type(function).__call__
    plain = getattr(plain, "__func__", plain)
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount]
    if plain is not function:
        names = names[1:]  # self
    if len(names) < 2:
        raise BadInput("an agent is a function of a run and an input: def assistant(run, input)")
    annotation = plain.__annotations__.get(names[1])
    if not isinstance(annotation, str):
        return annotation
    holder = type("_Holder", (), {"__annotations__": {"input": annotation}})
    try:
        return typing.get_type_hints(holder, globalns=plain.__globals__)["input"]
    except NameError as fault:
        raise BadInput(f"the type of an agent's input is not known where the function is defined: {fault}") from None
