"""Reads what pytest prints: its dots, its percent column and its verbose lines, as progress.

`....F.. [ 42%]` says how far it is only at the end of a line, which is 72 tests long. Between, each dot counts: as one of the
items that were collected where pytest says how many, else as one of as many as the last column makes likely, else as itself.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

# What a test's character or word says. `R` is a test that is run again, and not over.
_MARKS = {".": "passed", "F": "failed", "E": "errors", "s": "skipped", "x": "xfailed", "X": "xpassed"}
_WORDS = {
    "PASSED": "passed", "FAILED": "failed", "ERROR": "errors", "SKIPPED": "skipped", "XFAIL": "xfailed", "XPASS": "xpassed",
}  # fmt: skip
_COLLECTED = re.compile(r"^(?:collecting \.\.\. )?collected (?P<all>\d+) items?(?:.* / (?P<selected>\d+) selected)?")
_WORKERS = re.compile(r"^\d+ workers? \[(?P<all>\d+) items?\]")
_COLUMN = r"\[\s*(?:(?P<percent>\d{1,3})%|(?P<done>\d+)/(?P<total>\d+))\]"
_DOTS = re.compile(rf"^(?:(?P<file>\S+\.py) )?(?P<marks>[.FEsxXR]+)\s*(?:{_COLUMN}|\[[\s\d/%]*)?$")
_WORD = rf"(?P<word>{'|'.join(_WORDS)})"
# `test_x.py::test_y PASSED [ 3%]`, and with xdist `[gw0] [ 3%] PASSED test_x.py::test_y`; not `FAILED test_x.py::test_y` of the
# summary behind all results.
_VERBOSE = re.compile(rf"^\S+::.*? {_WORD}(?: \(.*\))?\s*(?:{_COLUMN})?\s*$")
_WORKER = re.compile(rf"^\[gw\d+\] (?:{_COLUMN} )?{_WORD} \S+::")
_BANNER = re.compile(r"^=+ (?P<title>\S.*?) =+$")


@dataclass(frozen=True)
class PytestProgress:
    """How far pytest is: tests that are over, of how many, and what became of them."""

    done: int
    total: int | None
    progress: float | None
    message: str


@dataclass
class PytestOutput:
    """The output of one command. `expected`: it is pytest, so that dots are believed without anything that says so."""

    expected: bool = False
    _counts: Counter[str] = field(default_factory=Counter)
    _total: int | None = None
    _share: float = 0.0  # the newest; a column is rounded down, and would go back
    _over: bool = False
    _estimate: float | None = None  # how many tests the last column makes likely

    def read(self, text: str, partial: bool = False) -> PytestProgress | None:
        """Takes a line, or as much of one as there is yet, which is given again with more; None where it is no result."""
        text = text.rstrip()
        if not partial and (banner := _BANNER.match(text)):
            # What comes behind the results shows failures, with lines of an E and nothing more.
            self._over = banner["title"] != "test session starts"
        if self._over:
            return None
        if not partial and (found := _COLLECTED.match(text) or _WORKERS.match(text)):
            self._total = int(found.groupdict().get("selected") or found["all"])
            self.expected = True
            return None
        found = _DOTS.match(text)
        if found and (self.expected or found["percent"] or found["done"]):
            return self._add(Counter(_MARKS[mark] for mark in found["marks"] if mark in _MARKS), found, partial)
        if not partial and self.expected and "::" in text and (found := _VERBOSE.match(text) or _WORKER.match(text)):
            return self._add(Counter([_WORDS[found["word"]]]), found, partial)
        return None

    def _add(self, counts: Counter[str], found: re.Match[str], partial: bool) -> PytestProgress:
        after = self._counts + counts
        done = after.total()
        share = found["percent"]
        if found["total"]:
            self._total = int(found["total"])
        progress: float | None = None
        if self._total:
            progress = done / self._total
        elif share:
            progress = int(share) / 100
        elif self._estimate:
            progress = done / self._estimate
        if progress is not None:
            progress = self._share = min(1.0, max(progress, self._share))
        if not partial:
            self.expected = True
            self._counts = after
            if share and int(share):
                self._estimate = done * 100 / int(share)
        return PytestProgress(
            done, self._total, progress, ", ".join(f"{count} {word}" for word, count in after.items())
        )


def runs_pytest(argv: Sequence[str]) -> bool:
    """Says whether a command is pytest by its words: `pytest -q`, `python -m pytest`, `uv run pytest`."""
    return any(os.path.basename(word) in ("pytest", "py.test") for word in argv[:4])
