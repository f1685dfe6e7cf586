"""Evaluates filters over events that come in by standard input; run as a script by `edge.filters.process`.

A request is a length of four bytes and a msgpack array: a filter's text, the numbers of the events that are meant, stored
events that come for the first time, and the numbers of those that will not be asked about again. New events are numbered from
1 on. The answer is a length and one byte for each event, 1 where the filter lets it through. The process ends with its input.
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
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from router.codec import unpack
from router.errors import BadEvent
from router.filter import EVERYTHING, Activation, Filter

HEAD = 4
MAX_FILTERS = 4096
# What holds more is converted field by field, as filters ask for it.
WHOLE_ITEMS = 10_000


class Evaluator:
    """Filters that were compiled, most recently used last, and events that were converted, by their numbers."""

    def __init__(self) -> None:
        self._filters: OrderedDict[str, Filter] = OrderedDict()
        self._events: dict[int, Activation | None] = {}
        self._newest = 0

    def answer(self, text: str, numbers: list[int], new: list[bytes], gone: list[int]) -> bytes:
        """One byte for each event."""
        for payload in new:
            self._newest += 1
            self._events[self._newest] = _converted(payload)
        wanted = self._filter(text)
        answer = bytes([(seen := self._events[number]) is not None and wanted.matches(seen) for number in numbers])
        for number in gone:
            del self._events[number]
        return answer

    def _filter(self, text: str) -> Filter:
        found = self._filters.get(text)
        if found is None:
            found = self._filters[text] = Filter.compile(text)
            if len(self._filters) > MAX_FILTERS:
                self._filters.popitem(last=False)
        return found


def _converted(payload: bytes) -> Activation | None:
    try:
        seen = Activation(unpack(payload))
    except BadEvent:
        return None
    seen.prepare(EVERYTHING, True, WHOLE_ITEMS)
    return seen


_read = msgspec.msgpack.Decoder(tuple[str, list[int], list[bytes], list[int]]).decode


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until the requests end."""
    evaluator = Evaluator()
    while len(head := requests.read(HEAD)) == HEAD:
        answer = evaluator.answer(*_read(requests.read(int.from_bytes(head, "big"))))
        answers.write(len(answer).to_bytes(HEAD, "big") + answer)
        answers.flush()


def main() -> None:
    # A Ctrl-C on the terminal is for the parent, which then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
