"""Scans the text of a CEL expression, token by token, and refuses what could cost too much, with its line and column.

The evaluator is native code: an expression nested too deeply overflows its stack and takes the process with it, `map`
and `filter` copy what they gathered at every step, and `matches` compiles its pattern anew for every event. So a text is
scanned before the compiler gets it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import cel

from router.errors import BadFilter

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
# What the compiler and the evaluator raise.
EVALUATION_FAULTS = (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError)


class Needs(NamedTuple):
    """What an expression reads: some variables, and of the data some top-level fields, or all (None)."""

    variables: frozenset[str]
    fields: frozenset[str] | None

    def __or__(self, other: Needs) -> Needs:
        """What two expressions read together."""
        fields = None if self.fields is None or other.fields is None else self.fields | other.fields
        return Needs(self.variables | other.variables, fields)

    def cover(self, other: Needs) -> bool:
        """Whether an event that was converted for this need serves the other as well."""
        if not other.variables <= self.variables:
            return False
        return self.fields is None or (other.fields is not None and other.fields <= self.fields)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Bracket(NamedTuple):
    sign: str
    bound: str | None


class Scan:
    """Scans a text: `needs` is what it reads, `macros` and `power` what it may cost, `bound` the names its macros bind.

    Raises BadFilter.
    """

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
            raise self._bad(token.at, unknown_variable(token.text))

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
            compile_cel("''.matches(p)").execute({"p": pattern})
        except RuntimeError as fault:
            reason = str(fault).rpartition("error: ")[2].partition(". Check")[0]
            raise self._bad(token.at, f"not a valid pattern: {reason[:100]}") from None

    def _literal(self, token: _Token) -> object:
        try:
            return compile_cel(token.text).execute()
        except (BadFilter, *EVALUATION_FAULTS):
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


def compile_cel(text: str) -> Any:
    """Compiles a text that was scanned. Raises BadFilter."""
    try:
        return cel.compile(text)
    except EVALUATION_FAULTS as fault:
        if found := _PLACE.search(str(fault)):
            reason = found[3].partition(" expecting ")[0][:200]
            raise BadFilter(f"line {found[1]}, column {found[2]}: {reason}") from None
        raise BadFilter(" ".join(str(fault).split())[:200]) from None
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":
            raise
        raise BadFilter("the expression cannot be read") from None


def unknown_variable(name: str) -> str:
    """The reason to refuse an expression that reads a variable that events do not have."""
    return f"unknown variable {name[:40]!r}; there are {_listed(VARIABLES)}"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
