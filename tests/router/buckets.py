"""Reads and writes the streams of buckets past their API, for tests."""

from __future__ import annotations

import base64

from router.broker import Broker
from router.nats.bucket import Bucket
from router.topology import TopologySettings, streams


async def stored_headers(broker: Broker, bucket: Bucket, key: str) -> dict[str, str]:
    answer = await broker.connection.api(
        f"STREAM.MSG.GET.{bucket.stream}", {"last_by_subj": f"$KV.{bucket.name}.{key}"}
    )
    lines = base64.b64decode(answer["message"].get("hdrs") or "").decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines if ": " in line)


async def leave_old_marker(broker: Broker, bucket: Bucket, key: str) -> None:
    """Deletes a key as earlier versions did."""
    await broker.connection.ask(f"$KV.{bucket.name}.{key}", b"", {"KV-Operation": "DEL"})


async def resize(broker: Broker, name: str, size: int) -> None:
    stream = next(each for each in streams(TopologySettings()) if each.name == f"KV_{name}")
    await broker.connection.api(f"STREAM.UPDATE.KV_{name}", {**stream.desired, "max_bytes": size})
