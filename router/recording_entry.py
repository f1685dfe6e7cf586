"""What is stored of a recording: its entry, and of each piece where it lies in the file.

A recording is a file of at most ten minutes. Its entry (`rec.<camera>.<id>`) is JSON. Its bytes are pieces,
`rec.<camera>.<id>.<n>`: the head of the MP4 file has the number 0, and each fragment of at most a second is one piece, or
several where it is larger than a message. Of stills each piece is one JPEG, and there is no head; one that is larger than a
message has its first parts under `rec.<camera>.<id>.<n>.<part>`. A header of the message says where its piece lies, so that
the end of a file that nobody closed is known from its last piece.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from router.errors import BadInput
from router.subject import escape

VIDEO: Final = "video"
STILLS: Final = "stills"
RECORDING: Final = "recording"
FINISHED: Final = "finished"
INTERRUPTED: Final = "interrupted"
FAILED: Final = "failed"

# The header of a message of NATS that holds its `RecordedPiece`, as JSON.
PIECE = "Callboard-Piece"

_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")


class Recording(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One file. Times in ms since the epoch, of the capture clock; None where they are not known (yet).

    Files that one command began have the same `session`. `until` is when the session is to end. The figures are those of
    the whole file once it is closed; of one that goes on, its last piece has them.
    """

    id: str
    camera: str
    session: str
    began: float
    kind: Literal["video", "stills"] = "video"
    status: Literal["recording", "finished", "interrupted", "failed"] = "recording"
    reason: str | None = None
    label: str | None = None
    started_by: str | None = None
    # Whether no command began it but `record=always`; and whether it is deleted where the store has no room for a newer one.
    continuous: bool = False
    overwritable: bool = False
    until: float | None = None
    every: float | None = None
    ended: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    source: str | None = None
    simulated: bool = False
    life: int | None = None
    frames: int = 0
    bytes: int = 0
    pieces: int = 0
    # Pictures and fragments that could not be kept.
    lost: int = 0

    @property
    def is_open(self) -> bool:
        return self.status == RECORDING

    @property
    def subject(self) -> str:
        """The subject of its entry, under which its pieces lie."""
        return f"rec.{escape(self.camera)}.{self.id}"


class RecordedPiece(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where a piece lies: `at` is its first byte behind the head. `time` is its first picture's (ms since the epoch).

    `until` is when the last picture up to here was over, and `frames` how many there are up to here. `end` says that a fragment
    ends with it. A still of several `parts` is larger than a message: see `Recordings.add_still`.
    """

    n: int
    at: int
    size: int
    time: float
    until: float
    frames: int
    end: bool = True
    parts: int = 1


class FileHead(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the header of a file's head says: its size, and once the file is closed the size of each piece."""

    n: int = 0
    size: int
    sizes: list[int] = []


def new_recording_id(at: float | None = None) -> str:
    """Makes an id that sorts by the time (seconds since the epoch) at which the recording began."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    return f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def check_recording_id(text: str) -> str:
    """Returns an id from outside. Raises BadInput."""
    if not _ID.fullmatch(text):
        raise BadInput("a recording's id looks like 20261127T074512-0a1b2c3d")
    return text
