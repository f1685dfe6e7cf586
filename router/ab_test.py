"""Reads the counts of an A/B test from the data of an event, and describes the significance of its result as data.

Variants are given as a list (`variants: [{"id": "A", …}]`), as a map by name (`variants: {"A": {…}}`), each in a field of its own
(`variantA`, `variant_a`, `control`, `treatment`), or one by `variantId` with its figures beside it. Each has the counts itself or
in its `metrics`: successes are `conversions`, else `successes`, else `clicks`; trials are the first of `visitors`, `users`,
`sessions`, `trials`, `samples`, `sampleSize`, `impressions`. The control is the one that `control` names or that says
`"control": true`, else the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from router.errors import BadData
from router.significance import ALPHA, Arm, Comparison, compare, winner

SUCCESSES = ("conversions", "successes", "clicks")
TRIALS = ("visitors", "users", "sessions", "trials", "samples", "sampleSize", "sample_size", "impressions")
# More variants than anybody compares; each costs some ten microseconds.
MAX_VARIANTS = 32

_FIELD = re.compile(r"variant_?([A-Za-z0-9]{1,16})\Z|(control|treatment)\Z")


class Counts(NamedTuple):
    """The arms of one test, the control first, and the names of the counts that they were read from."""

    arms: list[Arm]
    successes: str
    trials: str


def significance_of(data: Mapping[str, Any], alpha: float = ALPHA) -> dict[str, Any] | None:
    """The significance of a test's result; None where the data have no counts of two variants or more."""
    counts = read_counts(data)
    if counts is None:
        return None
    control, *variants = counts.arms
    found = compare(control, variants, alpha)
    return {
        "alpha": alpha,
        "successes": counts.successes,
        "trials": counts.trials,
        "control": control.name,
        "control_rate": control.rate,
        "adjustment": "Holm (1979)" if len(variants) > 1 else None,
        "comparisons": [_described(each) for each in found],
        "significant": any(each.significant for each in found),
        "winner": winner(control, found),
    }


def why_not(data: Mapping[str, Any]) -> str:
    """Why `significance_of` finds none in the data."""
    named = dict(variants_of(data))
    if len(named) < 2:
        return "the counts of two variants or more are needed"
    if len(named) > MAX_VARIANTS:
        return f"more than {MAX_VARIANTS} variants are not compared"
    return f"each variant needs one of {', '.join(SUCCESSES)} and, not below it, one of {', '.join(TRIALS)}, the same in all"


def read_counts(data: Mapping[str, Any]) -> Counts | None:
    """Reads the arms; None where there are fewer than two, or one of them has no valid counts."""
    named = dict(variants_of(data))
    if not 2 <= len(named) <= MAX_VARIANTS:
        return None
    for successes in SUCCESSES:
        for trials in TRIALS:
            arms = [_arm(name, given, successes, trials) for name, given in named.items()]
            if all(arm is not None for arm in arms):
                return Counts(_control_first([arm for arm in arms if arm], named, data), successes, trials)
    return None


def variants_of(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The variants that an event has, by name, with their figures; those in `metrics` beside the others."""
    for name, given in _variants(data):
        metrics = given.get("metrics")
        yield name, {**metrics, **given} if isinstance(metrics, Mapping) else given


def check(data: Mapping[str, Any]) -> None:
    """Raises BadData for data that say nothing of a test, variants that are no objects, and counts that cannot be."""
    given = data.get("variants")
    if isinstance(given, (Mapping, list)):
        for name, each in given.items() if isinstance(given, Mapping) else enumerate(given):
            if not isinstance(each, Mapping):
                raise BadData(f"variants.{name}", "expected an object with the figures of a variant")
    found = dict(variants_of(data))
    if not found and not any(data.get(field) is not None for field in _RESULTS):
        raise BadData("", "a result needs variants, a variantId with its figures, metrics or a significance")
    for name, figures in found.items():
        _check_counts(f"variants.{name}." if given is not None else "", figures)
    if not found and isinstance(metrics := data.get("metrics"), Mapping):
        _check_counts("metrics.", metrics)


# What a result may say without variants.
_RESULTS = ("metrics", "significance", "statisticalSignificance", "isWinner")


def _check_counts(place: str, figures: Mapping[str, Any]) -> None:
    for field in (*SUCCESSES, *TRIALS):
        if figures.get(field) is not None and _count(figures[field]) is None:
            raise BadData(f"{place}{field}", "expected a whole number >= 0")
    # Clicks may be more than visitors, but what counts as the result may not.
    one = next((field for field in SUCCESSES[:2] if figures.get(field) is not None), None)
    of = next((field for field in TRIALS if figures.get(field) is not None), None)
    if one is not None and of is not None and figures[one] > figures[of]:
        raise BadData(f"{place}{one}", f"{figures[one]} of {figures[of]} {of} is not possible")


def _variants(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    given = data.get("variants")
    if isinstance(given, Mapping):
        for name, each in given.items():
            if isinstance(each, Mapping):
                yield str(name), each
    elif isinstance(given, list):
        for place, each in enumerate(given[: MAX_VARIANTS + 1]):
            if isinstance(each, Mapping):
                yield _name(each) or str(place), each
    elif (id := data.get("variantId", data.get("variant_id"))) is not None:
        yield str(id), data
    else:
        for field, each in data.items():
            if isinstance(each, Mapping) and (found := _FIELD.match(str(field))):
                yield _name(each) or found[1] or found[2], each


def _name(given: Mapping[str, Any]) -> str | None:
    found = next((given[name] for name in ("id", "variant", "variantId", "name") if given.get(name) is not None), None)
    return None if found is None else str(found)


def _arm(name: str, given: Mapping[str, Any], successes: str, trials: str) -> Arm | None:
    one, of = _count(given.get(successes)), _count(given.get(trials))
    return Arm(name, one, of) if one is not None and of and one <= of else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**63 or value != int(value):
        return None
    return int(value)


def _control_first(arms: list[Arm], named: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]) -> list[Arm]:
    said = data.get("control")
    chosen = [
        arm for arm in arms if arm.name == said or named[arm.name].get("control") is True or arm.name == "control"
    ]
    return [*chosen[:1], *(arm for arm in arms if arm not in chosen[:1])]


def _described(each: Comparison) -> dict[str, Any]:
    return {
        "variant": each.variant,
        "rate": each.rate,
        "difference": each.difference,
        "interval": list(each.interval),
        "lift": each.lift,
        "lift_interval": None if each.lift_interval is None else list(each.lift_interval),
        "test": each.test,
        "source": each.source,
        "statistic": each.statistic,
        "p_value": each.p_value,
        "p_adjusted": each.p_adjusted,
        "significant": each.significant,
    }
