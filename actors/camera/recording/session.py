"""What one command to record began: until when, and the file that is being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.camera.recording.file import RecordingFile
from router.codec import rfc3339
from router.recording_entry import Recording, new_recording_id

# So long before that the file ends with the next key, so that the next one begins where it ends; a short file a quarter of its time.
EARLY_MS = 10_000.0
MAX_SECONDS = 31 * 86400.0
MAX_LABEL = 200


class RecordingRefused(Exception):
    """a recording cannot begin or end; the text may be shown"""


def checked_seconds(value: float | None) -> float | None:
    """Takes a duration from outside. Raises ValueError."""
    if value is None:
        return None
    if not 1 <= value <= MAX_SECONDS:
        raise ValueError(f"seconds must be from 1 to {MAX_SECONDS:.0f}")
    return float(value)


def checked_label(value: str | None) -> str | None:
    """Takes a label from outside. Raises ValueError."""
    if value is None:
        return None
    if len(value) > MAX_LABEL or not value.isprintable():
        raise ValueError(f"label must be at most {MAX_LABEL} printable characters")
    return value.strip() or None


@dataclass
class RecordingSession:
    """A recording that goes on, over its files. Times in ms since the epoch; `until` is None without a planned end."""

    camera: str
    since: float
    until: float | None = None
    label: str | None = None
    by: str | None = None
    continuous: bool = False
    overwritable: bool = False
    id: str = field(default_factory=new_recording_id)
    file: RecordingFile | None = None

    def entry(self, now: float) -> Recording:
        """The entry of its next file; the first has the id of the session."""
        return Recording(
            id=self.id if self.file is None and now <= self.since else new_recording_id(now / 1000),
            camera=self.camera,
            session=self.id,
            began=now,
            until=self.until,
            label=self.label,
            started_by=self.by,
            continuous=self.continuous,
            overwritable=self.overwritable,
        )

    def described(self) -> dict[str, Any]:
        """What the camera's state says of it."""
        return {
            "id": self.file.entry.id if self.file is not None else None,
            "session": self.id,
            "since": text_of(self.since),
            "until": text_of(self.until) if self.until is not None else None,
            "label": self.label,
            "by": self.by,
            "continuous": self.continuous,
        }

    @classmethod
    def resumed(cls, entry: Recording) -> RecordingSession:
        """The session of a file that an earlier process left open."""
        return cls(
            entry.camera,
            entry.began,
            entry.until,
            entry.label,
            entry.started_by,
            entry.continuous,
            entry.overwritable,
            entry.session,
        )


def text_of(ms: float) -> str:
    """A time in ms since the epoch as RFC 3339."""
    return rfc3339(round(ms * 1000) * 1000)


def event_data(what: str, entry: Recording) -> dict[str, Any]:
    """The data of the event `recording` about one file."""
    ended = entry.ended
    data: dict[str, Any] = {
        "what": what,
        "recording": entry.id,
        "session": entry.session,
        "kind": entry.kind,
        "label": entry.label,
        "by": entry.started_by,
        "continuous": entry.continuous or None,
        "reason": entry.reason,
        "began": text_of(entry.began),
        "ended": text_of(ended) if ended is not None else None,
        "until": text_of(entry.until) if entry.until is not None else None,
        "duration": round((ended - entry.began) / 1000, 3) if ended is not None else None,
        "frames": entry.frames if ended is not None else None,
        "bytes": entry.bytes if ended is not None else None,
        "lost": entry.lost or None,
    }
    return {name: value for name, value in data.items() if value is not None}
