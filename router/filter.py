"""Compiles CEL expressions that people write, and evaluates them over events at a bounded cost.

The evaluator is native code: an expression nested too deeply overflows its stack and takes the process with it, `map`
and `filter` copy what they gathered at every step, and `matches` compiles its pattern anew for every event. So a text
is read here, token by token, before the compiler sees it, and whatever could cost too much is refused with its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import cel

from router.errors import BadFilter
from router.event import Event

VARIABLES = frozenset(["id", "type", "source", "subject", "domain", "entity", "key", "cause", "test", "time", "data"])
FUNCTIONS = frozenset(["size", "string", "int", "uint", "double", "bytes", "timestamp", "duration", "dyn"])
_DATES = ["FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear"]
_TIMES = ["Hours", "Minutes", "Seconds", "Milliseconds"]
METHODS = frozenset(
    ["size", "contains", "startsWith", "endsWith", "matches", *(f"get{part}" for part in _DATES + _TIMES)]
)
MACROS = frozenset(["all", "exists", "exists_one"])
KEYWORDS = frozenset(["true", "false", "null", "in"])

MAX_LENGTH = 2000
# 500 tokens and 24 brackets: the deepest such expression ran on a stack of 256 KiB; 80 brackets overflow one of 512.
MAX_TOKENS = 500
MAX_NESTING = 24
# Each + may copy all of a text: 16 keep what one evaluation makes within some times the event's size.
MAX_SUMS = 16
MAX_MACROS = 8
MAX_MACRO_NESTING = 2
# A pattern is compiled at every evaluation. A class such as \w costs 0.2 ms then, because it holds all of Unicode.
MAX_PATTERN = 100
MAX_PATTERN_CLASSES = 4
# The same bounds for an expression as a whole: at most some 2 ms of compiling patterns at every evaluation.
MAX_MATCHES = 8
MAX_ALL_CLASSES = 8
# Steps of `exists` and its like, at 0.1 to 0.3 µs: an evaluation that could take more than about 30 ms does not begin.
MAX_STEPS = 100_000
# Up to so many items a look at the size of an event is exact.
MAX_LIGHT = 10_000
# An event of so many items is converted whole, where more than its first expression looks at it: some 2 ms.
WHOLE_ITEMS = 2000
# As deep as codec.check_depth lets data in; the evaluator's own limit is the stack.
MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
  | (?P<text>[bB]?[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\r\n]*'|"[^"\r\n]*")
    |[bB]?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\r\n])*'|"(?:\\.|[^"\\\r\n])*"))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]*\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_PLACE = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_CLASSES = re.compile(r"\\[wWdDsSbB]")
_FAULTS = (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError)
# Told by their type alone: to ask whether a number is a Mapping takes longer than all else in a look at it.
_SIMPLE = frozenset((int, float, bool, type(None)))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Needs(NamedTuple):
    """What an expression looks at: some variables, and of the data some top-level fields, or all (None)."""

    variables: frozenset[str]
    fields: frozenset[str] | None

    def __or__(self, other: Needs) -> Needs:
        """What two expressions look at together."""
        fields = None if self.fields is None or other.fields is None else self.fields | other.fields
        return Needs(self.variables | other.variables, fields)

    def cover(self, other: Needs) -> bool:
        """Says whether an event that was converted for this can be shown to who needs the other."""
        if not other.variables <= self.variables:
            return False
        return self.fields is None or (other.fields is not None and other.fields <= self.fields)


NOTHING = Needs(frozenset(), frozenset())
EVERYTHING = Needs(VARIABLES, None)


class Work:
    """What filters have cost this process: events converted for the evaluator, and evaluations."""

    __slots__ = ("conversions", "evaluations")

    def __init__(self) -> None:
        self.conversions = 0
        self.evaluations = 0


work = Work()


class _Unfit(ValueError):
    """this event cannot be shown to the evaluator"""


class Activation:
    """One event as expressions see it: converted once for all of them, and each asked once.

    `needs` is what all expressions that will be asked look at together. Where one comes that looks at more, the event is
    converted anew: whole, unless it is large, for others may come that look at still more.
    """

    __slots__ = ("_apart", "_context", "_lights", "_needs", "_verdicts", "_weights", "event")

    def __init__(self, event: Event, needs: Needs = NOTHING) -> None:
        self.event = event
        self._needs = needs
        self._context: cel.Context | None = None
        # For what looks at data that the evaluator can hold, beside data that it cannot.
        self._apart: dict[Needs, cel.Context] = {}
        self._weights: dict[frozenset[str] | None, int] = {}
        self._lights: dict[str, int] = {}
        self._verdicts: dict[str, bool] = {}

    def context(self, needs: Needs) -> cel.Context:
        """The variables, ready for the evaluator. Raises ValueError for data that it cannot hold."""
        if self._context is not None and self._needs.cover(needs):
            return self._context
        if (apart := self._apart.get(needs)) is not None:
            return apart
        wanted = self._needs | needs
        if self._context is not None and self.is_lighter(None, WHOLE_ITEMS):
            wanted = EVERYTHING
        try:
            context = self._convert(wanted)
        except _FAULTS:
            if wanted == needs:
                raise
            context = self._apart[needs] = self._convert(needs)
            return context
        self._context, self._needs = context, wanted
        return context

    def is_converted_for(self, needs: Needs) -> bool:
        """Says whether nothing more has to be converted for who needs this."""
        return self._context is not None and self._needs.cover(needs)

    def prepare(self, needs: Needs, whole: bool, items: int) -> None:
        """Says what others will look at, too, so that the first conversion serves them all.

        What holds more than so many items stays with who asks for it. `whole` says that some look at all of the data.
        """
        if self._context is not None:
            return
        if (whole or needs.fields is None) and self.is_lighter(None, items):
            self._needs |= Needs(needs.variables, None)
            return
        light, total = [], 0
        for field in needs.fields or ():
            if field in self.event.data and (total := total + self._light(field)) > items:
                break
            light.append(field)
        self._needs |= Needs(needs.variables, frozenset(light))

    def verdict(self, key: str) -> bool | None:
        """What an equal filter has said about this event; None where none was asked."""
        return self._verdicts.get(key)

    def decide(self, key: str, verdict: bool) -> None:
        """Keeps what a filter has said, for its equals."""
        self._verdicts[key] = verdict

    def weight(self, fields: frozenset[str] | None) -> int:
        """How many items those fields hold, at any depth; 64 characters count as one. Raises ValueError if too deep."""
        found = self._weights.get(fields)
        if found is None:
            found = self._weights[fields] = _weigh(self._data(fields))
        return found

    def is_lighter(self, fields: frozenset[str] | None, limit: int) -> bool:
        """Says whether those fields hold at most so many items (of at most 10,000); looks no further than it takes."""
        total = 0
        data = self.event.data
        for field in data if fields is None else fields:
            if field in data and (total := total + 1 + self._light(field)) > limit:
                return False
        return True

    def _light(self, field: str) -> int:
        """How many items one field holds, or some figure above 10,000."""
        found = self._lights.get(field)
        if found is None:
            try:
                found = _weigh({field: self.event.data[field]}, MAX_LIGHT)
            except _Unfit:
                found = MAX_LIGHT + 1
            self._lights[field] = found
        return found

    def _data(self, fields: frozenset[str] | None) -> dict[Any, Any]:
        data = self.event.data
        if fields is None:
            return dict(data)
        return {name: data[name] for name in fields if name in data}

    def _convert(self, needs: Needs) -> cel.Context:
        work.conversions += 1
        if "data" not in needs.variables:
            return cel.Context({name: self._variable(name) for name in needs.variables})
        self.weight(needs.fields)
        values = {name: self._variable(name) for name in needs.variables if name != "data"}
        data = self._data(needs.fields)
        try:
            return cel.Context({**values, "data": data})
        except _FAULTS:
            # Something in the data is foreign to CEL: a key that is no text, a timestamp of msgpack.
            return cel.Context({**values, "data": _native(data)})

    def _variable(self, name: str) -> Any:
        match name:
            case "domain" | "entity":
                return str(getattr(self.event.subject, name))
            case "subject":
                return str(self.event.subject)
            case "time":
                return _EPOCH + timedelta(microseconds=self.event.time // 1000)
            case _:
                return getattr(self.event, name)


_recent: Activation | None = None


def activation(event: Event) -> Activation:
    """Prepares an event for expressions; the newest one is remembered, for many filters ask the same event in turn."""
    global _recent
    found = _recent
    if found is None or found.event is not event:
        found = _recent = Activation(event)
    return found


class Expression:
    """A CEL expression over one event that yields a text, a number or a truth."""

    def __init__(self, text: str, program: Any, scan: _Scan) -> None:
        self.text = text
        self.faults = 0
        self.last_fault: str | None = None
        self._program = program
        self.needs = scan.needs
        # The same for all texts that differ in blanks and comments only.
        self.key = " ".join([token.text for token in scan.tokens])
        self._macros, self._power, self._tokens = scan.macros, scan.power, len(scan.tokens)

    @classmethod
    def compile(cls, text: str) -> Self:
        """Takes an expression as written by a person; raises BadFilter with the place of the fault, on one line."""
        scan = _Scan(text)
        program = _compile(text)
        # The compiler's own list, in case it reads a token otherwise than the scan did.
        if strange := set(program.variables()) - VARIABLES - scan.bound:
            raise BadFilter(_unknown(min(strange)))
        return cls(text, cls._wrap(text, program), scan)

    @staticmethod
    def _wrap(text: str, program: Any) -> Any:
        return program

    def value(self, event: Event | Activation) -> str | int | float | bool | None:
        """Evaluates; None where a field is missing, a type is wrong, or what comes out is no scalar."""
        found = self._evaluate(event)
        return found if isinstance(found, (str, int, float)) else None

    def _evaluate(self, event: Event | Activation) -> Any:
        try:
            work.evaluations += 1
            shown = event if isinstance(event, Activation) else activation(event)
            context = shown.context(self.needs)
            if self._macros:
                self._afford(shown)
            return self._program.execute(context)
        except _FAULTS as fault:
            self._note(fault)
        except BaseException as fault:
            # A panic in the native evaluator derives from BaseException, and its class cannot be imported.
            if type(fault).__name__ != "PanicException":
                raise
            self._note(fault)
        return None

    def is_cheap(self, shown: Activation, items: int, steps: int) -> bool:
        """Says whether it converts at most so many items anew and takes at most so many steps of `exists` and its like."""
        if "data" not in self.needs.variables:
            return True
        if not (shown.is_converted_for(self.needs) or shown.is_lighter(self.needs.fields, items)):
            return False
        if not self._macros:
            return True
        most = int((steps / self._macros) ** (1 / self._power)) - self._tokens
        return most > 0 and shown.is_lighter(self.needs.fields, most)

    def _afford(self, shown: Activation) -> None:
        weight = self._tokens + (shown.weight(self.needs.fields) if "data" in self.needs.variables else 0)
        if self._macros * weight**self._power > MAX_STEPS:
            raise _Unfit(f"a list of {weight} is too long for this expression")

    def _note(self, fault: BaseException) -> None:
        self.faults += 1
        self.last_fault = f"{type(fault).__name__}: {fault}"[:200]


class Filter(Expression):
    """A CEL expression that says which events are meant."""

    @classmethod
    def compile(cls, text: str) -> Self:
        """Takes a filter as written by a person; raises BadFilter with the place of the fault, on one line."""
        return super().compile(text)

    @staticmethod
    def _wrap(text: str, program: Any) -> Any:
        # So that what comes out is always one bool, and never a large value to be converted. The line break ends
        # a comment that the text may end with.
        return _compile(f"({text}\n) == true")

    def matches(self, event: Event | Activation) -> bool:
        """Says whether the event is meant; a missing field or a wrong type means no, and is counted in `faults`.

        Of filters that are equal but for blanks and comments only the first is evaluated over an event.
        """
        shown = event if isinstance(event, Activation) else activation(event)
        found = shown.verdict(self.key)
        if found is None:
            found = self._evaluate(shown) is True
            shown.decide(self.key, found)
        return found


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Bracket(NamedTuple):
    sign: str
    bound: str | None


class _Scan:
    """Reads a text token by token: what it looks at, what it may cost. Raises BadFilter."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip():
            raise BadFilter("the expression is empty")
        if len(text) > MAX_LENGTH:
            raise BadFilter(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are taken")
        self.text = text
        self.bound: set[str] = set()
        self.macros = 0
        self.power = 0
        self._matches = 0
        self._classes = 0
        self.tokens = self._cut()
        self._variables: set[str] = set()
        self._fields: set[str] | None = set()
        self._open: list[_Bracket] = []
        for place, token in enumerate(self.tokens):
            if token.kind == "sign":
                self._sign(place, token)
            elif token.kind == "name":
                self._name(place, token)
        if self._open:
            raise BadFilter(f"a {self._open[-1].sign} is never closed")

    @property
    def needs(self) -> Needs:
        return Needs(frozenset(self._variables), None if self._fields is None else frozenset(self._fields))

    def _cut(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = sums = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                raise self._bad(at, f"{self.text[at]!r} does not belong here")
            kind = str(found.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, found[0], at))
                sums += found[0] == "+"
            at = found.end()
        if len(tokens) > MAX_TOKENS:
            raise BadFilter(f"the expression has {len(tokens)} parts; at most {MAX_TOKENS} are taken")
        if sums > MAX_SUMS:
            raise BadFilter(f"the expression has {sums} times +; at most {MAX_SUMS} are taken")
        return tokens

    def _sign(self, place: int, token: _Token) -> None:
        if token.text in "([{":
            self._open.append(_Bracket(token.text, self._binding(place)))
            if len(self._open) > MAX_NESTING:
                raise self._bad(token.at, f"brackets are nested deeper than {MAX_NESTING}")
        elif token.text in _CLOSES and (not self._open or self._open.pop().sign != _CLOSES[token.text]):
            raise self._bad(token.at, f"{token.text} closes nothing")

    def _binding(self, place: int) -> str | None:
        """The name that a macro binds, where this bracket opens one: `x` in `data.tags.exists(x, …)`."""
        if not (self._is(place, "(") and self._is(place - 2, ".") and self._word(place - 1) in MACROS):
            return None
        name, at = self._word(place + 1), self.tokens[place].at
        if name is None or not self._is(place + 2, ",") or name in VARIABLES | KEYWORDS:
            raise self._bad(at, f"write {self._word(place - 1)}(x, condition), with a name that is not a variable's")
        nesting = 1 + sum(bracket.bound is not None for bracket in self._open)
        if nesting > MAX_MACRO_NESTING:
            raise self._bad(at, f"more than {MAX_MACRO_NESTING} of {', '.join(sorted(MACROS))} inside one another")
        self.macros += 1
        if self.macros > MAX_MACROS:
            raise self._bad(at, f"more than {MAX_MACROS} of {', '.join(sorted(MACROS))}")
        self.power = max(self.power, nesting)
        self.bound.add(name)
        return name

    def _name(self, place: int, token: _Token) -> None:
        called = self._is(place + 1, "(")
        if self._is(place - 1, "."):
            if called:
                self._method(place, token)
        elif called:
            if token.text not in FUNCTIONS and token.text != "has":
                raise self._bad(token.at, f"unknown function {token.text[:40]!r}; there are {_listed(FUNCTIONS)}")
        elif token.text in VARIABLES:
            self._variable(place, token)
        elif token.text not in KEYWORDS and all(token.text != bracket.bound for bracket in self._open):
            raise self._bad(token.at, _unknown(token.text))

    def _variable(self, place: int, token: _Token) -> None:
        self._variables.add(token.text)
        if token.text != "data":
            return
        # The evaluator copies what an expression names, so inside a macro `data` costs its size at every step.
        self.power = max(self.power, 1 + sum(bracket.bound is not None for bracket in self._open))
        if self._is(place + 1, ".") and self._word(place + 2) is not None and not self._is(place + 3, "("):
            field: object = self._word(place + 2)
        elif self._is(place + 1, "[") and self._is(place + 3, "]") and self.tokens[place + 2].kind == "text":
            field = self._literal(self.tokens[place + 2])
        else:
            field = None
        if not isinstance(field, str):
            self._fields = None
        elif self._fields is not None:
            self._fields.add(field)

    def _method(self, place: int, token: _Token) -> None:
        if token.text in ("map", "filter"):
            raise self._bad(token.at, f"{token.text} is not offered: ask with exists, exists_one or all")
        if token.text not in METHODS | MACROS:
            raise self._bad(token.at, f"unknown function {token.text[:40]!r}; there are {_listed(METHODS | MACROS)}")
        if token.text == "matches":
            self._pattern(place, token)

    def _pattern(self, place: int, token: _Token) -> None:
        if any(bracket.bound is not None for bracket in self._open):
            raise self._bad(
                token.at, f"matches inside {', '.join(sorted(MACROS))} would compile its pattern every time"
            )
        if not self._is(place + 3, ")") or self.tokens[place + 2].kind != "text":
            raise self._bad(token.at, "matches takes one pattern, written out as a text")
        pattern = self._literal(self.tokens[place + 2])
        if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
            raise self._bad(token.at, f"a pattern is a text of at most {MAX_PATTERN} characters")
        if "{" in pattern or r"\p" in pattern or r"\P" in pattern:
            raise self._bad(token.at, r"a pattern may not use {…} or \p, which make it too large")
        self._matches += 1
        if self._matches > MAX_MATCHES:
            raise self._bad(token.at, f"more than {MAX_MATCHES} times matches")
        classes = len(_CLASSES.findall(pattern))
        self._classes += classes
        if self._classes > MAX_ALL_CLASSES:
            raise self._bad(token.at, rf"\w, \d and their like more than {MAX_ALL_CLASSES} times: try [0-9]")
        if classes > MAX_PATTERN_CLASSES:
            raise self._bad(
                token.at, rf"a pattern may use \w, \d and their like {MAX_PATTERN_CLASSES} times: try [0-9]"
            )
        try:
            _compile("''.matches(p)").execute({"p": pattern})
        except RuntimeError as fault:
            reason = str(fault).rpartition("error: ")[2].partition(". Check")[0]
            raise self._bad(token.at, f"not a valid pattern: {reason[:100]}") from None

    def _literal(self, token: _Token) -> object:
        try:
            return _compile(token.text).execute()
        except (BadFilter, *_FAULTS):
            raise self._bad(token.at, f"not a text: {token.text[:40]}") from None

    def _is(self, place: int, text: str) -> bool:
        return 0 <= place < len(self.tokens) and self.tokens[place].kind == "sign" and self.tokens[place].text == text

    def _word(self, place: int) -> str | None:
        if 0 <= place < len(self.tokens) and self.tokens[place].kind == "name":
            return self.tokens[place].text
        return None

    def _bad(self, at: int, reason: str) -> BadFilter:
        line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
        return BadFilter(f"line {line}, column {column}: {reason}")


def _compile(text: str) -> Any:
    try:
        return cel.compile(text)
    except _FAULTS as fault:
        if found := _PLACE.search(str(fault)):
            reason = found[3].partition(" expecting ")[0][:200]
            raise BadFilter(f"line {found[1]}, column {found[2]}: {reason}") from None
        raise BadFilter(" ".join(str(fault).split())[:200]) from None
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":
            raise
        raise BadFilter("the expression cannot be read") from None


def _unknown(name: str) -> str:
    return f"unknown variable {name[:40]!r}; there are {_listed(VARIABLES)}"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _weigh(data: Mapping[Any, Any], limit: float = math.inf) -> int:
    """Counts items level by level, so that no depth can overflow anything; stops once there are more than a limit."""
    weight, level = 0, [data]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            weight += len(item)
            if weight > limit:
                return weight
            children = item.values() if isinstance(item, Mapping) else item
            for child in children:
                if type(child) in _SIMPLE:
                    continue
                if isinstance(child, (str, bytes)):
                    weight += len(child) // 64
                elif isinstance(child, (Mapping, list, tuple)):
                    inner.append(child)
        if not inner:
            return weight
        level = inner
    raise _Unfit(f"data is nested deeper than {MAX_DEPTH} levels")


def _native(value: Any) -> Any:
    """Makes data of what CEL has: keys become texts, and so does what is neither number, text, bytes, list nor map."""
    if isinstance(value, Mapping):
        return {str(_native(key)): _native(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [_native(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return value if value is None or isinstance(value, (int, float, bytes, datetime)) else str(value)
