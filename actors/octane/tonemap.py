"""Sets how Octane tone-maps its pictures while they are watched here, and restores what was set before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from actors.octane.client import OctaneClient
from actors.octane.errors import CallFailed
from protos import octane_types_pb2 as wire

logger = logging.getLogger(__name__)

# Bytes in sRGB, since Octane sends float pictures with three quarters missing. The rest is as the SDK's own default.
WANTED = {
    "bufferType": wire.TONEMAP_BUFFER_TYPE_LDR,
    "cryptomatteFalseColor": True,
    "colorSpace": wire.NAMED_COLOR_SPACE_SRGB,
    "premultipliedAlphaType": wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED,
}
# 3 s for all of them: a busy Octane is not waited for, and then what was set is taken to be the default.
READ_SECONDS = 3.0
# The getter of each; an Octane that lacks one is taken to have the SDK's default.
_GETTERS = {
    "bufferType": "asyncTonemapBufferType",
    "colorSpace": "asyncTonemapColorSpace",
    "cryptomatteFalseColor": "asyncTonemapCryptomatteFalseColor",
    "premultipliedAlphaType": "asyncTonemapPremultipliedAlphaType",
}
# The call that restores takes one of these; OTHER and OCIO name nothing that could be given back.
_NAMED = range(wire.NAMED_COLOR_SPACE_SRGB, wire.NAMED_COLOR_SPACE_XYZ_E + 1)


class OctaneTonemap:
    """The tone mapping of one Octane, remembered across connections to it."""

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None

    async def begin(self, client: OctaneClient) -> None:
        """Remembers what is set, and sets what is needed here. Raises Disconnected."""
        before: dict[str, Any] = dict.fromkeys(_GETTERS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                for name, getter in _GETTERS.items():
                    before[name] = await _read(client, getter)
        # What was set here over an earlier connection is not what was before.
        if before != WANTED and await _set(client, WANTED):
            self._before = {name: WANTED[name] if value is None else value for name, value in before.items()}

    async def restore(self, client: OctaneClient) -> None:
        """Sets what was set before, where Octane can be told so. Raises Disconnected."""
        before, self._before = self._before, None
        if before is not None and before != WANTED and before["colorSpace"] in _NAMED:
            await _set(client, before)


async def _read(client: OctaneClient, getter: str) -> Any:
    try:
        return (await client.engine(getter)).result
    except CallFailed:
        return None


async def _set(client: OctaneClient, values: dict[str, Any]) -> bool:
    try:
        await client.engine("setAsyncTonemapParams1", **values)
    except CallFailed as fault:
        logger.info(
            "Octane refused to set its tone mapping; its pictures are taken as they come",
            extra={"reason": str(fault), "address": client.address},
        )
        return False
    return True
