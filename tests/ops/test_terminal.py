"""Colours, tables and the status line, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from ops.terminal import Paint, StatusLine, bar, safe, table, width_of


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_only_a_terminal_that_takes_colours_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert Paint.of(Terminal())("well", "green") == "\x1b[32mwell\x1b[0m"
    assert Paint.of(io.StringIO())("well", "green") == "well"

    monkeypatch.setenv("NO_COLOR", "1")
    assert Paint.of(Terminal())("well", "green") == "well"


def test_text_of_an_event_cannot_command_the_terminal() -> None:
    assert safe("a\x1b[2Jb\x07") == "a�[2Jb�"


def test_columns_count_wide_characters_twice_and_colours_not_at_all() -> None:
    assert width_of("日本") == 4
    assert width_of("\x1b[32mwell\x1b[0m") == 4


def test_a_table_lines_up_its_columns() -> None:
    rows = [("a", "x"), ("\x1b[32mlonger\x1b[0m", "y")]

    lines = table(rows, ("name", "value"), indent="  ").splitlines()

    assert [line.replace("\x1b[32m", "").replace("\x1b[0m", "") for line in lines] == [
        "  name    value",
        "  a       x",
        "  longer  y",
    ]
    assert table([]) == ""


def test_a_status_line_is_written_over_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream, elsewhere = Terminal(), io.StringIO()
    status = StatusLine(stream)

    status.show("starting nats-server")
    status.clear()
    StatusLine(elsewhere).show("starting")

    assert stream.getvalue() == "\r\x1b[Kstarting \r\x1b[K"
    assert elsewhere.getvalue() == ""


@pytest.mark.parametrize(("done", "drawn"), [(-1.0, "░░░░"), (0.5, "██░░"), (2.0, "████")])
def test_a_bar_stays_within_its_width(done: float, drawn: str) -> None:
    assert bar(done, 4) == drawn
