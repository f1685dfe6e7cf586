"""Draws on a terminal: colours, tables, a status line. Elsewhere its output is plain text."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from ops.environment import colour_wanted

_CODES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Paint:
    """Colours text on a terminal."""

    def __init__(self, colours: bool) -> None:
        self.colours = colours

    @classmethod
    def of(cls, stream: TextIO) -> Paint:
        """Looks whether a stream is a terminal that takes colours."""
        return cls(stream.isatty() and colour_wanted())

    def __call__(self, text: str, *styles: str) -> str:
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colours and codes and text else text


def safe(text: str) -> str:
    """Takes control characters out of text from elsewhere, so that no event can command the terminal."""
    return _CONTROL.sub("�", text)


def width_of(text: str) -> int:
    """Counts the columns a text takes."""
    plain = _ESCAPE.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain)


def table(
    rows: Sequence[Sequence[str]], header: Sequence[str] = (), paint: Paint | None = None, indent: str = ""
) -> str:
    """Lays out rows in columns."""
    lines = [list(map(str, row)) for row in rows]
    if header:
        lines.insert(0, [(paint or Paint(False))(name, "dim") for name in header])
    if not lines:
        return ""
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        (
            indent + "  ".join(cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


class StatusLine:
    """One line that is written over again and again; nothing where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen = stream.isatty() and colour_wanted()
        self._shown = ""

    def show(self, text: str) -> None:
        """Replaces the line."""
        if not self._seen or text == self._shown:
            return
        room = shutil.get_terminal_size().columns - 1
        self._shown = text
        self._stream.write("\r\x1b[K" + (text if width_of(text) <= room else _ESCAPE.sub("", text)[:room]))
        self._stream.flush()

    def clear(self) -> None:
        """Takes the line away, so that others can be written."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = ""


def bar(done: float, width: int = 24) -> str:
    """Draws how much of the whole is done, from 0 to 1."""
    full = round(min(1.0, max(0.0, done)) * width)
    return "█" * full + "░" * (width - full)
