"""Values read from text: durations, sizes, numbers, members of an enumeration."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.values import convert, seconds


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("250ms", 0.25), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations_are_read(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "7 apples", "nan", "inf", "5x", "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("42", 42), ("1_000", 1000), ("1GiB", 1 << 30), ("1.5 KiB", 1536), ("2MB", 2_000_000), ("-1", -1)],
)
def test_sizes_are_read(text: str, value: int) -> None:
    assert convert(int, text) == value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (bool, "Yes", True),
        (bool, "off", False),
        (Path, "a/b", Path("a/b")),
        (str | None, "none", None),
        (int | None, "3", 3),
        (tuple[str, ...], "a, b,,c", ("a", "b", "c")),
    ],
)
def test_values_take_the_type_of_their_field(kind: object, text: str, value: object) -> None:
    assert convert(kind, text) == value


@pytest.mark.parametrize(("kind", "text"), [(bool, "maybe"), (int, "1.5"), (int, "many"), (int, "0x10")])
def test_values_of_another_type_are_refused(kind: object, text: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        convert(kind, text)
