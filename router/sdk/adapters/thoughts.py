"""Gathers the reasoning that a model streams token by token into thoughts that are worth an event each."""

from __future__ import annotations

from collections.abc import Callable

# 80 characters: a line that ends after so many is a thought of its own.
LINE_CHARACTERS = 80
# 1,000 characters: what has no line ends is passed on after so many.
MAX_CHARACTERS = 1_000


class Thoughts:
    """The reasoning of one answer of a model."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._text = ""

    def add(self, text: str) -> None:
        """Takes the next piece."""
        self._text += text
        if len(self._text) >= MAX_CHARACTERS or ("\n" in text and len(self._text) >= LINE_CHARACTERS):
            self.end()

    def end(self) -> None:
        """Emits what is left: the model goes on to something else."""
        text, self._text = self._text.strip(), ""
        if text:
            self._emit(text)
