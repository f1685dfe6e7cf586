"""Declares what a simulated Octane is set up with: where it listens, what it renders, which faults it shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from actors.octane.simulator.faults import OctaneFault

# 8: the simulator knows no more render passes than that.
MAX_PASSES = 8


class OctaneGeneration(Enum):
    """Which wire the simulator speaks; the value is the version it gives."""

    BETA_2 = 15000008  # events say that there is an image
    ALPHA_5 = 15000005  # events carry the image
    ALPHA_3 = 15000002  # events carry the image, and each wants an answer: both ends stream


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Where the simulator listens, and what it renders. Times in seconds."""

    host: str = "127.0.0.1"
    port: int = 51022  # 0 takes a free one
    width: int = 960
    height: int = 540
    pitch: int = 1024  # pixels of a row in memory; more than the width, as Octane's often is
    max_samples: int = 500
    samples_per_second: float = 25.0
    images_per_second: float = 4.0
    rest: float = 6.0  # seconds between the last sample and the next render
    generation: OctaneGeneration = OctaneGeneration.BETA_2
    # Pictures of that type whatever a client asks for, and with all their bytes.
    hdr: bool = False
    half: bool = False
    mono: bool = False
    # A sky that is transparent.
    alpha: bool = False
    # How many passes the render target has; only beauty is tonemapped until a client asks for more.
    passes: int = 1
    # Whether images carry their pass; the usual server sends none, and the order in the statistics tells them apart.
    pass_ids: bool = False
    devices: int = 1
    # Where saveImage1 may write; without it every save fails.
    save_directory: Path | None = None
    # Faults that come by themselves, one of these every `chaos_every` seconds; those that last go on for `chaos_lasts`.
    chaos: tuple[OctaneFault, ...] = ()
    chaos_every: float = 20.0
    chaos_lasts: float = 8.0
    chaos_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if not 8 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} must be 8 to 4096")
        if not 0 <= self.pitch <= 8192:
            raise ValueError("pitch must be 0 to 8192")
        for name in ("max_samples", "samples_per_second", "images_per_second", "chaos_every", "chaos_lasts"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
        if self.rest < 0:
            raise ValueError("rest must be 0 or more")
        if not 1 <= self.passes <= MAX_PASSES:
            raise ValueError(f"passes must be 1 to {MAX_PASSES}")
        if not 0 <= self.devices <= 16:
            raise ValueError("devices must be 0 to 16")
        if self.hdr and self.half:
            raise ValueError("hdr and half exclude each other")
