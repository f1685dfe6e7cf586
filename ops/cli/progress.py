"""Parses a command's output: its lines, and the progress that they report.

What counts as progress: a tqdm bar (`42%|████ | 42/100 [00:03<00:04, 12.3it/s]`), a percentage (`42%`, `42.5 %`), a
count (`step 3/10`, `epoch 3 of 10`, `[3/10]`), the dots of pytest (`....F.. [ 42%]`). Bars redraw
themselves after a carriage return: such a text is looked at for progress, but only what stands when the line ends is a line of
output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ops.cli.pytest_output import PytestOutput
from ops.cli.stages import read_stage

# 8 kB: longer than any line a person reads; a dump of base64 must not fill the stream.
LINE_BYTES = 8192
# A message beside a bar.
MESSAGE_CHARACTERS = 200
# How far into a line progress is looked for, so that an endless line costs no endless search.
LOOKED_AT = 1000

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_NUMBER = r"\d+(?:\.\d+)?"
_TQDM = re.compile(
    rf"(?P<said>[^|\r\n]*?)(?P<percent>\d{{1,3}})%\|[^|]*\|\s*"
    rf"(?P<current>{_NUMBER})(?P<scale>[kKMGTP]?)[A-Za-z]*/(?P<total>{_NUMBER})(?P<total_scale>[kKMGTP]?)[A-Za-z]*\s*"
    rf"\[(?P<elapsed>[^<\]]*)<(?P<left>(?:\d+ days?, )?[^,\]]*)(?:,\s*(?P<rate>{_NUMBER}|\?)(?P<rate_scale>[kKMGTP]?)"
    rf"(?P<unit>[^\],]*))?"
)
# Not behind a digit, a point or a minus (1.234.5%, -5%), nor a share of a share (5%%).
_PERCENT = re.compile(r"(?<![\w.,+-])(?P<percent>\d{1,3}(?:[.,]\d+)?)\s?%(?![%\w])")
_COUNT = re.compile(
    r"(?:\b(?:step|epoch|frame|batch|iteration|iter|item|file|part|chunk|page|task|stage)s?\s*[:#]?\s*"
    r"(?P<current>\d{1,12})(?:\s*/\s*|\s+of\s+)(?P<total>\d{1,12})(?![\d./])"
    r"|^\s*[\[(]\s*(?P<nth>\d{1,12})(?:\s*/\s*|\s+of\s+)(?P<count>\d{1,12})\s*[\])])",
    re.IGNORECASE,
)
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@dataclass(frozen=True)
class Progress:
    """How far a command says it is; from 0 to 1, or not known as a share."""

    progress: float | None
    message: str | None = None
    current: float | None = None
    total: float | None = None
    rate: float | None = None  # a second
    eta_seconds: float | None = None
    stage: str | None = None

    def data(self) -> dict[str, Any]:
        """What of it is known, as an event's data."""
        return {name: value for name, value in vars(self).items() if value is not None}


def read_progress(text: str, *, partial: bool = False) -> Progress | None:
    """Reads the progress a text tells of; None where it tells of none.

    A partial text may go on: of `step 1/1` nobody knows yet that it will not be `step 1/10`, so counts are left alone.
    """
    # Most lines tell of none, and are passed over without a search.
    if "%" not in text and "/" not in text and " of " not in text:
        return None
    text = text[:LOOKED_AT]
    if "%|" in text and (found := _TQDM.search(text)):
        return _bar(found)
    if (found := _PERCENT.search(text)) and (percent := float(found["percent"].replace(",", "."))) <= 100:
        return Progress(percent / 100, _message(text))
    if partial or not (found := _COUNT.search(text)):
        return None
    current, total = int(found["current"] or found["nth"]), int(found["total"] or found["count"])
    if not 0 <= current <= total or not total:
        return None
    return Progress(current / total, _message(text), current, total)


def _bar(found: re.Match[str]) -> Progress | None:
    current, total = _scaled(found["current"], found["scale"]), _scaled(found["total"], found["total_scale"])
    percent = int(found["percent"])
    if percent > 100:
        return None
    # The counts are finer than whole percents, unless they are rounded themselves (1.2M/3.4M).
    exact = total > 0 and current <= total and not found["scale"] and not found["total_scale"]
    rate: float | None = None
    if found["rate"] not in (None, "?"):
        rate = _scaled(found["rate"], found["rate_scale"])
        # A slow bar says seconds per item.
        if found["unit"].strip().startswith("s/"):
            rate = 1 / rate if rate else None
    return Progress(
        current / total if exact else percent / 100,
        _message(found["said"].strip().removesuffix(":")),
        _whole(current),
        _whole(total),
        round(rate, 6) if rate is not None else None,
        _seconds(found["left"]),
    )


def _scaled(number: str, scale: str) -> float:
    return float(number) * _SCALES[scale]


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def _message(text: str) -> str | None:
    return " ".join(text.split())[:MESSAGE_CHARACTERS] or None


def _seconds(text: str) -> float | None:
    """Reads `04`, `00:04`, `1:02:03` or `2 days, 1:02:03`."""
    days, _, clock = text.strip().rpartition(" ")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or len(parts) > 3:
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return float(seconds + 86400 * int(days.split()[0])) if days[:1].isdigit() else float(seconds)


class OutputLine(NamedTuple):
    """One line of output, without its end; `cut` says how many bytes were left out."""

    text: str
    cut: int


class LineReader:
    """Takes one stream's bytes as they come and makes lines of them. Holds one line, at most 8 kB of it."""

    def __init__(self, pytest: bool = False, colours: bool = False) -> None:
        """`pytest`: what runs is pytest, whose dots are progress even where nothing else says what they are.

        `colours`: they stay in its lines; all else that steers a terminal is taken off.
        """
        self._pytest = PytestOutput(pytest)
        self._colours = colours
        self._stage: str | None = None
        self._newest: Progress | None = None
        self._held = bytearray()
        self._cut = 0
        self._returned = False  # a carriage return is the last thing that came: of `\r\n`, or of a bar?

    def feed(self, chunk: bytes) -> tuple[list[OutputLine], Progress | None]:
        """Takes what came; gives the lines it completed, and the newest progress told in it."""
        lines: list[OutputLine] = []
        newest: Progress | None = None
        whole = chunk.split(b"\n")
        for place, piece in enumerate(whole):
            ended = place < len(whole) - 1
            newest = self._piece(piece) or newest
            if ended:
                line = self._take()
                newest = self._read(line.text) or newest
                lines.append(line)
        if self._held and not self._returned:
            newest = self._read(_text(self._held), partial=True) or newest
        return lines, newest

    def end(self) -> tuple[list[OutputLine], Progress | None]:
        """Takes the end of the stream; gives the line that had none."""
        if not self._held:
            return [], None
        line = self._take()
        return [line], self._read(line.text)

    def _read(self, text: str, partial: bool = False) -> Progress | None:
        """Reads the progress and the stage of a line, or of what there is of it yet; each tells of the other, too."""
        text = without_escapes(text)
        # Of `test_x.py::test_y PASSED [ 3%` pytest has more to say.
        found = None if partial and "::" in text else read_progress(text, partial=partial)
        if tests := self._pytest.read(text, partial):
            found = Progress(tests.progress, tests.message, tests.done, tests.total)
        if not partial and (stage := read_stage(text)):
            self._stage = stage
            found = found or self._newest or Progress(None)
        if found is None:
            return None
        self._newest = replace(found, stage=self._stage)
        return self._newest

    def _piece(self, piece: bytes) -> Progress | None:
        """Takes a piece without a line's end; each carriage return in it begins the line anew."""
        newest: Progress | None = None
        if not piece:
            return None
        for text in piece.split(b"\r")[:-1]:
            self._add(text)
            # Kept until something follows: before a line's end, a carriage return says nothing.
            if self._held:
                newest = read_progress(_text(self._held)) or newest
            self._returned = True
        self._add(piece[piece.rfind(b"\r") + 1 :])
        return newest

    def _add(self, text: bytes) -> None:
        if not text:
            return
        if self._returned:
            self._held.clear()
            self._cut = 0
            self._returned = False
        room = LINE_BYTES - len(self._held)
        self._held += text[:room]
        self._cut += max(0, len(text) - room)

    def _take(self) -> OutputLine:
        line = OutputLine(_text(self._held, self._colours), self._cut)
        self._held.clear()
        self._cut = 0
        self._returned = False
        return line


def without_escapes(text: str) -> str:
    """A text without what steers a terminal, such as colours."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def _colours_only(text: str) -> str:
    return _ESCAPES.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)


def _text(raw: bytes | bytearray, colours: bool = False) -> str:
    """Reads UTF-8, with � for what is none; a character that the 8 kB cut in two is left out; colours are taken off, or kept."""
    whole = bytes(raw)
    if len(whole) >= LINE_BYTES:
        for back in range(1, 4):
            # A byte that begins a character of more than `back` bytes: its end was cut off.
            if whole[-back] >= 0xC0 and _length(whole[-back]) > back:
                whole = whole[:-back]
                break
    text = whole.decode("utf-8", "replace")
    return _colours_only(text) if colours else without_escapes(text)


def _length(first: int) -> int:
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2
