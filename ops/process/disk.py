"""Watches the disk of the embedded nats-server: warns before it is full, and restarts a server that cannot write any more.

nats-server keeps the first write error of a stream until it is restarted, also when there is room again.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.broker import Broker
from router.nats.refusals import is_full_disk
from router.store_health import StoreHealth
from router.store_trouble import Trouble

# Under 1 GiB EVENTS may fill the disk before its own limit is reached; under 100 MiB that is near.
LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20
# Two blocks of a stream: with less, a server that is restarted fails again at once.
ROOM = 16 << 20
LOOK_SECONDS = 2.0
# A restart that did not help is not repeated sooner than this.
AGAIN_SECONDS = 15.0

Say = Callable[[str, str], None]
"""Called as say(level, line) with what a person should know."""


def free_bytes(folder: Path) -> int:
    """Reads how much room the disk of a folder has for this user."""
    return shutil.disk_usage(folder).free


class DiskWatch:
    """Watches the folder of an embedded server while that runs."""

    def __init__(self, folder: Path, broker: Broker, say: Say, restart: Callable[[], None]) -> None:
        """`restart` ends the server, so that its supervisor starts it again."""
        self._folder = folder
        self._health = StoreHealth(broker)
        self._say = say
        self._restart = restart
        self._level = 0
        self._waiting = False
        self._restarted = float("-inf")

    async def run(self) -> None:
        """Looks every few seconds, until cancelled."""
        while True:
            await self._health.look()
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        try:
            free = free_bytes(self._folder)
        except OSError:
            return
        self._warn(free)
        failed = [trouble for trouble in self._health.troubles.values() if is_full_disk(trouble.text)]
        if not failed:
            self._waiting = False
        elif free < ROOM:
            if not self._waiting:
                self._waiting = True
                self._say("error", f"nats-server cannot write ({_names(failed)}): the disk of {self._folder} is full")
        elif time.monotonic() - self._restarted > AGAIN_SECONDS:
            self._restarted = time.monotonic()
            self._say("restart", f"there is room again, restarting nats-server so that it writes ({_names(failed)})")
            self._restart()

    def _warn(self, free: int) -> None:
        """Says once for each threshold that the disk has fallen below it."""
        level = (free < LITTLE_SPACE) + (free < NO_SPACE)
        if level > self._level:
            self._say(
                "error" if level == 2 else "warning",
                f"only {free / (1 << 20):,.0f} MiB are free on the disk of {self._folder}",
            )
        self._level = level


def _names(failed: list[Trouble]) -> str:
    return ", ".join(trouble.stream for trouble in failed)


class DiskFigures(Collector):
    """Shows Prometheus the disk that holds the data of an embedded server; nothing where there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return
        yield GaugeMetricFamily("ops_data_free_bytes", "Bytes free on the disk of the data folder", float(usage.free))
        yield GaugeMetricFamily("ops_data_disk_bytes", "Bytes that the disk of the data folder has", float(usage.total))


def show_disk(folder: Path) -> None:
    """Registers the figures of a data folder, where an embedded server keeps its data in it."""
    if (folder / "jetstream").is_dir():
        REGISTRY.register(DiskFigures(folder))
