"""The handshake by which a child proves that it is ours."""

from __future__ import annotations

import asyncio
import os

from ops.process.handshake import Handshake
from tests.waiting import eventually


async def test_a_child_is_ready_only_by_the_nonce_of_this_start() -> None:
    proved: list[str] = []
    ours = Handshake(lambda: proved.append("ours"))
    stranger = Handshake(lambda: proved.append("stranger"))
    repeated = Handshake(lambda: proved.append("repeated"))
    nonce = next(iter(ours.environment.values())).partition(":")[2]

    os.write(stranger.descriptor, b"ready\n")
    os.write(repeated.descriptor, nonce.encode())
    os.write(ours.descriptor, nonce.encode())
    for one in (ours, stranger, repeated):
        one.started()

    await eventually(lambda: proved)
    await asyncio.sleep(0)
    for one in (ours, stranger, repeated):
        one.close()
    assert proved == ["ours"]
