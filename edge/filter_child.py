"""Evaluates filters over events that come in by standard input; run as a script by `edge.filter_process`.

A request is a length of four bytes and a msgpack array of a filter's text and stored events; the answer is a length and
one byte for each event, 1 where the filter lets it through. The process ends with its input.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

if __name__ == "__main__":
    # Python was told to look for modules in no current folder; these are the ones beside this file.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from router.codec import decode
from router.errors import BadEvent
from router.filter import EVERYTHING, Activation, Filter

HEAD = 4
# Filters of one principal are mostly asked about the same events: those of some pages stay converted.
MOST_EVENTS = 512
MOST_BYTES = 16 * 1024 * 1024
MOST_FILTERS = 4096
# What holds more is converted field by field, as filters ask for it.
WHOLE_ITEMS = 10_000


class Evaluator:
    """Filters that were compiled and events that were converted, most recently used last."""

    def __init__(self) -> None:
        self._filters: OrderedDict[str, Filter] = OrderedDict()
        self._events: OrderedDict[bytes, Activation | None] = OrderedDict()
        self._bytes = 0

    def answer(self, text: str, payloads: list[bytes]) -> bytes:
        """One byte for each event."""
        wanted = self._filter(text)
        return bytes([(seen := self._event(payload)) is not None and wanted.matches(seen) for payload in payloads])

    def _filter(self, text: str) -> Filter:
        found = self._filters.get(text)
        if found is None:
            found = self._filters[text] = Filter.compile(text)
            if len(self._filters) > MOST_FILTERS:
                self._filters.popitem(last=False)
        return found

    def _event(self, payload: bytes) -> Activation | None:
        if payload in self._events:
            self._events.move_to_end(payload)
            return self._events[payload]
        try:
            seen: Activation | None = Activation(decode(payload))
        except BadEvent:
            seen = None
        if seen is not None:
            seen.prepare(EVERYTHING, True, WHOLE_ITEMS)
        self._events[payload] = seen
        self._bytes += len(payload)
        while len(self._events) > MOST_EVENTS or (self._bytes > MOST_BYTES and len(self._events) > 1):
            self._bytes -= len(self._events.popitem(last=False)[0])
        return seen


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until the requests end."""
    evaluator = Evaluator()
    while len(head := requests.read(HEAD)) == HEAD:
        text, payloads = msgspec.msgpack.decode(
            requests.read(int.from_bytes(head, "big")), type=tuple[str, list[bytes]]
        )
        answer = evaluator.answer(text, payloads)
        answers.write(len(answer).to_bytes(HEAD, "big") + answer)
        answers.flush()


def main() -> None:
    # A Ctrl-C on the terminal is for the parent, which then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
