from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np

from actors.camera.renditions.captured import CapturedPicture
from actors.camera.renditions.encoders import Encoded, EncodingSettings
from actors.camera.renditions.pipeline import EncoderPipeline
from actors.camera.sources.source import BadPicture, Picture
from router.rungs import JPEG, Rung
from tests.waiting import PATIENCE, eventually

SETTINGS = EncodingSettings(85, 30.0)


class Gate:
    """An encoder that takes as long as a test wants it to, and what came of it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.sent: list[int] = []
        self.bad: list[Exception] = []
        self.dropped = 0
        self.gates = [threading.Event() for _ in range(20)]

    def encode(self, picture: CapturedPicture, settings: EncodingSettings, key: bool) -> Encoded:
        self.began.append(picture.seq)
        assert self.gates[picture.seq].wait(PATIENCE)
        if picture.seq == 13:
            raise BadPicture("13")
        return Encoded(b"", 1, 1)

    def encoded(
        self, rung: Rung, picture: CapturedPicture, settings: EncodingSettings, encoded: Encoded, seconds: float
    ) -> None:
        self.sent.append(picture.seq)

    def not_encoded(self, rung: Rung, fault: Exception) -> None:
        self.bad.append(fault)

    def passed_over(self, rung: Rung) -> None:
        self.dropped += 1


def picture(seq: int) -> CapturedPicture:
    return CapturedPicture(seq, Picture(np.zeros((2, 2), dtype=np.uint8), float(seq)))


@asynccontextmanager
async def pipeline(gate: Gate, at_once: int) -> AsyncIterator[EncoderPipeline]:
    with ThreadPoolExecutor(4) as threads:
        async with asyncio.TaskGroup() as group:
            made = EncoderPipeline(JPEG, gate, threads, group.create_task)
            made._encoder, made._limit = gate, at_once
            try:
                yield made
            finally:
                for each in gate.gates:
                    each.set()


async def test_a_picture_that_is_done_first_is_sent_after_the_one_before_it() -> None:
    gate = Gate()
    async with pipeline(gate, 2) as encoding:
        encoding.offer(picture(0), SETTINGS)
        encoding.offer(picture(1), SETTINGS)
        await eventually(lambda: sorted(gate.began) == [0, 1])
        gate.gates[1].set()
        await asyncio.sleep(0)
        assert gate.sent == []

        gate.gates[0].set()
        await eventually(lambda: gate.sent == [0, 1])


async def test_while_the_encoder_is_busy_the_newest_picture_waits_and_the_others_are_dropped() -> None:
    gate = Gate()
    async with pipeline(gate, 1) as encoding:
        for seq in range(5):
            encoding.offer(picture(seq), SETTINGS)
        gate.gates[0].set()
        gate.gates[4].set()
        await eventually(lambda: gate.sent == [0, 4])

        assert gate.dropped == 3


async def test_a_bad_picture_is_told_and_the_next_one_is_sent() -> None:
    gate = Gate()
    async with pipeline(gate, 2) as encoding:
        for seq in (12, 13, 14):
            gate.gates[seq].set()
            encoding.offer(picture(seq), SETTINGS)
        await eventually(lambda: gate.sent == [12, 14])

        assert [str(fault) for fault in gate.bad] == ["13"]


async def test_a_pipeline_that_was_ended_sends_nothing() -> None:
    gate = Gate()
    async with pipeline(gate, 1) as encoding:
        encoding.offer(picture(0), SETTINGS)
        encoding.offer(picture(1), SETTINGS)
        encoding.end()

    assert gate.sent == []
