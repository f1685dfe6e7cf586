"""This file is where the bounds of a handed-over connection are; it imports nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LaneSettings:
    """Times in seconds, sizes in bytes."""

    # A WebSocket that has left two pings in a row unanswered is taken for gone. Pings travel with heartbeats.
    ping: float = 20.0
    # How long a client may take to answer a close frame, and to take what was written before.
    close_patience: float = 5.0
    # How long a stopping process waits for closed connections before it cuts them.
    grace: float = 3.0
