"""Makes a simulated Octane misbehave now and then, in an order that its seed decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.settings import SimulatorSettings


class OctaneChaos:
    """Strikes one of the faults of the settings every so many seconds, and says which."""

    def __init__(
        self, settings: SimulatorSettings, strike: Callable[[OctaneFault, float], None], say: Callable[[str], None]
    ) -> None:
        self._settings, self._strike, self._say = settings, strike, say
        self._random = random.Random(settings.chaos_seed)

    def next(self) -> OctaneFault:
        """The fault that the seed has come to."""
        return self._random.choice(self._settings.chaos)

    async def run(self) -> None:
        """Goes on until cancelled; without faults it only waits."""
        settings = self._settings
        if not settings.chaos:
            return
        while True:
            await asyncio.sleep(settings.chaos_every)
            fault = self.next()
            self._say(f"{fault.value} for {settings.chaos_lasts:g} s" if fault.lasts else fault.value)
            self._strike(fault, settings.chaos_lasts if fault.lasts else 0.0)
