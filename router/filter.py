"""Evaluates CEL expressions over events at a bounded cost: filters, and the fields of alert rules.

An event is converted for the evaluator once, for all expressions that read it (`Activation`), and an expression that would
take too long over it is not begun. What an expression may contain is decided by `router.filter_scan`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import cel

from router.errors import BadFilter
from router.event import Event
from router.filter_scan import EVALUATION_FAULTS, VARIABLES, Needs, Scan, compile_cel, unknown_variable

# Steps of `exists` and its like, at 0.1 to 0.3 µs: an evaluation that could take more than about 30 ms does not begin.
MAX_STEPS = 100_000
# Up to so many items the size of an event is counted exactly.
MAX_LIGHT = 10_000
# An event of so many items is converted whole, where more than its first expression reads it: some 2 ms.
WHOLE_ITEMS = 2000
# As deep as codec.check_depth lets data in; the evaluator's own limit is the stack.
MAX_DEPTH = 64

# Recognised by their type alone: `isinstance(number, Mapping)` takes longer than all else that is done with it.
_SIMPLE = frozenset((int, float, bool, type(None)))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Tells activations apart without keeping them.
_serials = itertools.count()


NOTHING = Needs(frozenset(), frozenset())
EVERYTHING = Needs(VARIABLES, None)


class Work:
    """What filters have cost this process: events converted for the evaluator, and evaluations."""

    __slots__ = ("conversions", "evaluations")

    def __init__(self) -> None:
        self.conversions = 0
        self.evaluations = 0


work = Work()


class _CannotEvaluate(ValueError):
    """this event cannot be evaluated"""


class Activation:
    """One event as expressions read it: converted once for all of them, and each evaluated once.

    `needs` is what all expressions that will be evaluated read together. For one that reads more, the event is converted
    again: whole, unless it is large, since others may follow that read still more.
    """

    __slots__ = ("_apart", "_context", "_lights", "_needs", "_verdicts", "_weights", "event", "serial")

    def __init__(self, event: Event, needs: Needs = NOTHING) -> None:
        self.event = event
        self.serial = next(_serials)
        self._needs = needs
        self._context: cel.Context | None = None
        # For expressions that read fields which the evaluator can hold, beside fields that it cannot.
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
        except EVALUATION_FAULTS:
            if wanted == needs:
                raise
            context = self._apart[needs] = self._convert(needs)
            return context
        self._context, self._needs = context, wanted
        return context

    def whole_context(self, needs: Needs, items: int) -> cel.Context | None:
        """The variables that many expressions read together, converted at once; None where that is more than `items` items,
        or the evaluator cannot hold it: then each expression is better evaluated by itself.
        """
        try:
            if "data" in needs.variables and self.weight(needs.fields) > items:
                return None
            return self.context(needs)
        except EVALUATION_FAULTS:
            return None

    def is_converted_for(self, needs: Needs) -> bool:
        """Whether nothing more has to be converted for this need."""
        return self._context is not None and self._needs.cover(needs)

    def prepare(self, needs: Needs, whole: bool, items: int) -> None:
        """Adds what other expressions will read, so that the first conversion serves them all.

        Fields of more than `items` items are converted only for an expression that reads them. `whole` says that some
        expressions read all of the data.
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
        """The result of an equal filter for this event; None where none was evaluated."""
        return self._verdicts.get(key)

    def decide(self, key: str, verdict: bool) -> None:
        """Keeps the result of a filter, for filters equal to it."""
        self._verdicts[key] = verdict

    def weight(self, fields: frozenset[str] | None) -> int:
        """How many items those fields hold, at any depth; 64 characters count as one. Raises ValueError if too deep."""
        found = self._weights.get(fields)
        if found is None:
            found = self._weights[fields] = _weigh(self._data(fields))
        return found

    def is_lighter(self, fields: frozenset[str] | None, limit: int) -> bool:
        """Whether those fields hold at most `limit` items (which is at most 10,000); counts no further."""
        total = 0
        data = self.event.data
        for field in data if fields is None else fields:
            if field in data and (total := total + 1 + self._light(field)) > limit:
                return False
        return True

    def _light(self, field: str) -> int:
        """How many items one field holds, or some number above 10,000."""
        found = self._lights.get(field)
        if found is None:
            try:
                found = _weigh({field: self.event.data[field]}, MAX_LIGHT)
            except _CannotEvaluate:
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
        except EVALUATION_FAULTS:
            # The data holds something that CEL does not have: a key that is not a text, a timestamp of msgpack.
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
    """Prepares an event for expressions; the newest is cached, since many filters are evaluated over the same event in turn."""
    global _recent
    found = _recent
    if found is None or found.event is not event:
        found = _recent = Activation(event)
    return found


class Expression:
    """A CEL expression over one event that yields a text, a number or a bool."""

    # Where there are thousands, what an event touches of each should be little.
    __slots__ = ("_macros", "_power", "_program", "_tokens", "faults", "key", "last_fault", "needs", "text")

    def __init__(self, text: str, program: Any, scan: Scan) -> None:
        self.text = text
        self.faults = 0
        self.last_fault: str | None = None
        self._program = program
        self.needs = scan.needs
        # The same for all texts that differ only in blanks and comments.
        self.key = " ".join([token.text for token in scan.tokens])
        self._macros, self._power, self._tokens = scan.macros, scan.power, len(scan.tokens)

    @classmethod
    def compile(cls, text: str) -> Self:
        """Compiles an expression. Raises BadFilter, whose text names line and column, on one line."""
        scan = Scan(text)
        program = compile_cel(text)
        # The compiler's own list, in case it reads a token differently than the scan did.
        if strange := set(program.variables()) - VARIABLES - scan.bound:
            raise BadFilter(unknown_variable(min(strange)))
        return cls(text, cls._wrap(text, program), scan)

    @staticmethod
    def _wrap(text: str, program: Any) -> Any:
        return program

    def value(self, event: Event | Activation) -> str | int | float | bool | None:
        """Evaluates; None where a field is missing, a type is wrong, or the result is not a scalar."""
        found = self._evaluate(event)
        return found if isinstance(found, (str, int, float)) else None

    def _evaluate(self, event: Event | Activation) -> Any:
        try:
            work.evaluations += 1
            activated = event if isinstance(event, Activation) else activation(event)
            context = activated.context(self.needs)
            if self._macros:
                self._check_cost(activated)
            return self._program.execute(context)
        except EVALUATION_FAULTS as fault:
            self._note(fault)
        except BaseException as fault:
            # A panic in the native evaluator derives from BaseException, and its class cannot be imported.
            if type(fault).__name__ != "PanicException":
                raise
            self._note(fault)
        return None

    def is_cheap(self, activated: Activation, items: int, steps: int) -> bool:
        """Whether evaluating it converts at most `items` more items and takes at most `steps` steps of macros such as `exists`."""
        if "data" not in self.needs.variables:
            return True
        if not (activated.is_converted_for(self.needs) or activated.is_lighter(self.needs.fields, items)):
            return False
        if not self._macros:
            return True
        limit = int((steps / self._macros) ** (1 / self._power)) - self._tokens
        return limit > 0 and activated.is_lighter(self.needs.fields, limit)

    def _check_cost(self, activated: Activation) -> None:
        weight = self._tokens + (activated.weight(self.needs.fields) if "data" in self.needs.variables else 0)
        if self._macros * weight**self._power > MAX_STEPS:
            raise _CannotEvaluate(f"a list of {weight} is too long for this expression")

    def _note(self, fault: BaseException) -> None:
        self.faults += 1
        self.last_fault = f"{type(fault).__name__}: {fault}"[:200]


class Filter(Expression):
    """A CEL expression that selects events."""

    __slots__ = ("_decided", "_verdict")

    def __init__(self, text: str, program: Any, scan: Scan) -> None:
        super().__init__(text, program, scan)
        # The activation that was decided on last, and how.
        self._decided = -1
        self._verdict = False

    @classmethod
    def compile(cls, text: str) -> Self:
        """Compiles a filter. Raises BadFilter, whose text names line and column, on one line."""
        return super().compile(text)

    @staticmethod
    def _wrap(text: str, program: Any) -> Any:
        # So that the result is always one bool, and never a large value to be converted. The line break ends a comment
        # at the end of the text.
        return compile_cel(f"({text}\n) == true")

    def matches(self, event: Event | Activation) -> bool:
        """Whether the event is selected; a missing field or a wrong type means no, and is counted in `faults`.

        Of filters that differ only in blanks and comments, the first is evaluated over an event.
        """
        activated = event if isinstance(event, Activation) else activation(event)
        found = activated.verdict(self.key)
        if found is None:
            found = self._evaluate(activated) is True
            activated.decide(self.key, found)
        return found

    def matches_in(self, context: cel.Context | None, event: Activation) -> bool:
        """The same where all that it reads has been converted already (`Activation.whole_context`), without asking again.

        One filter that many rules share is evaluated once over an event.
        """
        if context is None or self._macros:
            return self.matches(event)
        if self._decided == event.serial:
            return self._verdict
        self._decided, self._verdict = event.serial, False
        try:
            work.evaluations += 1
            self._verdict = self._program.execute(context) is True
        except EVALUATION_FAULTS as fault:
            self._note(fault)
        except BaseException as fault:
            # A panic, as above.
            if type(fault).__name__ != "PanicException":
                raise
            self._note(fault)
        return self._verdict


def _weigh(data: Mapping[Any, Any], limit: float = math.inf) -> int:
    """Counts items level by level, without recursion; stops once there are more than a limit."""
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
    raise _CannotEvaluate(f"data is nested deeper than {MAX_DEPTH} levels")


def _native(value: Any) -> Any:
    """Converts data to types of CEL: keys become texts, and so does what is neither number, text, bytes, list nor map."""
    if isinstance(value, Mapping):
        return {str(_native(key)): _native(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [_native(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return value if value is None or isinstance(value, (int, float, bytes, datetime)) else str(value)
