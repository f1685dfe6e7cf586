"""The table and the JSON of measurements."""

from __future__ import annotations

import json

from ops import interpreter
from ops.bench.report import ReportRow, as_json, head, line, middle, number


def test_a_figure_has_three_digits_that_say_something() -> None:
    assert [number(value) for value in (0.1234, 12.34, 123.4, 12345.6)] == ["0.12", "12.3", "123", "12,346"]


def test_a_row_shows_the_median_the_span_and_who_was_busy() -> None:
    row = ReportRow("publish", "POST /events", "events/s", [30.0, 10.0, 20.0], [5.0], {"edge": 0.5}, "a note")

    said = line(row)

    assert row.figure == 20.0
    assert said.startswith("POST /events") and "10.0–30.0" in said and said.endswith("edge 50%  a note")


def test_what_was_left_out_has_no_figure_and_says_why() -> None:
    row = ReportRow("fanout", "nchan", note="not installed")

    assert row.figure is None and line(row).endswith("–  not installed")
    assert json.loads(as_json([row]))[0]["median"] is None


def test_the_table_and_the_json_say_which_python_measured() -> None:
    assert head().startswith(interpreter.name()) and "busy" in head()
    assert json.loads(as_json([ReportRow("fanout", "nchan")]))[0]["python"] == interpreter.name()


def test_the_median_of_each_value_is_taken_over_runs() -> None:
    assert middle([{"a": 1.0}, {"a": 9.0}, {"a": 2.0}]) == {"a": 2.0}
