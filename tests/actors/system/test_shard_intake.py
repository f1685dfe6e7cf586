"""Up to when an actor has handled all that is stored in a shard."""

from __future__ import annotations

from actors.system.shard_intake import Horizon


def test_the_horizon_is_the_next_event_in_hand_and_known_only_once_deliveries_had_time_to_come() -> None:
    now = 0.0
    horizon = Horizon(lambda: now)

    def at(oldest: int | None = None, connected: bool = True, life: int = 0) -> int | None:
        return horizon.at(oldest, connected, life)

    horizon.began(7)
    assert at() == 0, "nothing came yet"
    assert at(100) == 100 and at(90) == 100, "what is delivered again is late"
    horizon.heard(3)
    now = 3.0
    assert at() == 100, "three are on their way"
    horizon.heard(0)
    assert at() is None
    assert at(connected=False) == 100 and at(connected=False) == 100
    now = 60.0
    assert at(life=1) == 100, "what was stored meanwhile may be on its way"
    now = 62.0
    assert at(life=1) is None
    horizon.heard(4)
    now = 66.0
    assert at(life=1) == 100
    now = 67.0
    assert at(life=1) is None, "they were deleted before they came"
