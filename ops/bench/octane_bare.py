"""Fetches and encodes an Octane's pictures with as little code as can be: what the actor is compared with.

`python -m ops.bench.octane_bare ADDRESS` takes one JSON order a line: `{"do": "grab", "rate": …, "seconds": …}`.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time

import grpc
from PIL import Image

from actors.octane.allocation import keep_freed_buffers
from protos.octane_render_pb2 import ApiRenderEngine
from protos.octane_render_pb2_grpc import ApiRenderEngineServiceStub


async def grab(engine: ApiRenderEngineServiceStub) -> int:
    """Fetches one picture and encodes it; the bytes of the JPEG."""
    answer = await engine.grabRenderResult(ApiRenderEngine.grabRenderResultRequest())
    await engine.releaseRenderResult(ApiRenderEngine.releaseRenderResultRequest())
    image = answer.renderImages.data[0]
    size, stride = (image.size.x, image.size.y), image.pitch * 4
    shown = Image.frombuffer("RGBX", size, image.buffer.data, "raw", "RGBX", stride, 1)
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=85, subsampling=2)
    return out.tell()


async def fetch(address: str, rate: float, seconds: float) -> int:
    """Fetches and encodes at a rate, for so long; says how many pictures it was."""
    # gRPC for asyncio, as the actor has it.
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)]) as channel:
        engine = ApiRenderEngineServiceStub(channel)  # type: ignore[no-untyped-call]
        began, pictures = time.monotonic(), 0
        while (due := began + pictures / rate) < began + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await grab(engine)
            pictures += 1
        return pictures


def main() -> None:
    """Takes orders until its input ends."""
    # As the actor does: else the kernel's share of each buffer is what is compared.
    keep_freed_buffers()
    for line in sys.stdin:
        order = json.loads(line)
        pictures = asyncio.run(fetch(sys.argv[1], order["rate"], order["seconds"]))
        print(json.dumps({"pictures": pictures}), flush=True)


if __name__ == "__main__":
    main()
