"""Decodes values of key-value buckets: one that cannot be decoded is skipped, counted and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import msgspec

from router.codec import DECODE_FAULTS
from router.nats.counters import figures

T = TypeVar("T")

log = logging.getLogger(__name__)


def decoder(kind: type[T], bucket: str) -> Callable[[str, bytes | None], T | None]:
    """Makes a function `(key, value) -> T | None` for the JSON values of a bucket.

    It returns None for no value, and for one that is no T (written by another version, or by hand): that is counted under
    the bucket's name in `router_undecodable_values_total`.
    """
    decode = msgspec.json.Decoder(kind).decode

    def read(key: str, value: bytes | None) -> T | None:
        if value is None:
            return None
        try:
            return decode(value)
        except DECODE_FAULTS as fault:
            figures.undecodable[bucket] = figures.undecodable.get(bucket, 0) + 1
            log.warning(
                "stored value cannot be decoded; it is skipped",
                extra={"bucket": bucket, "key": key, "fault": str(fault)},
            )
            return None

    return read
