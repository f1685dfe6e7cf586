"""The reasons why a stream takes no writes, as codes and values."""

from __future__ import annotations

from typing import NamedTuple

from router.errors import Refused
from router.nats.error_codes import ErrorCode
from router.nats.refusals import is_full

CODES = ("ok", "unreachable", "stream_missing", "storage_full", "no_quorum", "forbidden", "write_failed")
OK, UNREACHABLE, STREAM_MISSING, STORAGE_FULL, NO_QUORUM, FORBIDDEN, WRITE_FAILED = CODES


class Trouble(NamedTuple):
    """Why one stream takes no writes; `stream` is `*` where that holds for all."""

    stream: str
    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.stream}: {self.code} ({self.text})"


class Finding(NamedTuple):
    """What a probe found wrong. Where it is not `certain` it may pass by itself, such as an election."""

    trouble: Trouble
    certain: bool


def code_of(refusal: Refused) -> str:
    """The code of a refused write."""
    if is_full(refusal):
        return STORAGE_FULL
    if refusal.err_code == ErrorCode.STREAM_NOT_FOUND:
        return STREAM_MISSING
    if refusal.err_code == ErrorCode.CLUSTER_NOT_AVAILABLE or refusal.code == 503:
        return NO_QUORUM
    return FORBIDDEN if refusal.code == 403 else WRITE_FAILED
