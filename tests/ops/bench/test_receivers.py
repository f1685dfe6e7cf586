"""What the receiver of the webhooks benchmark counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ops.bench.receivers import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    return Ledger(progress)


async def test_posts_are_counted_with_their_signatures_and_ages(ledger: Ledger, tmp_path: Path) -> None:
    ledger.begin(sessions=2)
    said = f'{{"data":{{"at":{time.time_ns() - 5_000_000}}}}}'.encode()

    ledger.take(b"POST / HTTP/1.1\r\nwebhook-signature: v1,abc", said)
    ledger.take(b"POST / HTTP/1.1", said)
    found = await ledger.collect(posts=2, seconds=1)

    assert (found["signed"], found["body"]) == (1, said.decode())
    assert found["p50"] >= 5 and found["worst"] >= found["p50"]
    # Two sessions got one event.
    assert int.from_bytes((tmp_path / "progress").read_bytes(), "little") == 1


async def test_posts_that_do_not_come_end_it(ledger: Ledger) -> None:
    with pytest.raises(SystemExit, match="0 of 1 posts"):
        await ledger.collect(posts=1, seconds=0.01)
