"""The settings of the fan-out."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.webhooks.queue.room import RoomSettings
from router.cluster.role import RoleSettings


@dataclass(frozen=True)
class FanoutSettings:
    """How events are turned into jobs. Times in seconds."""

    role: RoleSettings = field(default_factory=RoleSettings)
    # 512 jobs wait for their acknowledgement at once: a round trip is shared by many, and memory stays small.
    pipeline: int = 512
    # Events that were received and not matched yet; more are read from the store instead.
    buffer: int = 4096
    # Sessions that are backfilled at the same time, and how often the waiting ones are checked for room.
    filling: int = 4
    room_every: float = 0.1
    room: RoomSettings = field(default_factory=RoomSettings)
    # After HOOKS refused a job for want of room.
    refused_pause: float = 1.0
    # How often the events that wait in EVENTS are checked for being too old, or gone; and how often at most a session's gap
    # is reported while it waits.
    expire_every: float = 5.0
    gap_every: float = 3600.0
    save_every: float = 0.5
    # How often records of deleted sessions are searched for.
    sweep_every: float = 600.0
    # The store is asked this often while no event arrives, in case some were missed.
    check_every: float = 5.0
