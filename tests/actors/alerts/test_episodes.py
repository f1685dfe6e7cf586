"""What is known of one key."""

from __future__ import annotations

import json

from actors.alerts.episodes import Episode, alert_id


def test_an_episode_is_written_without_what_says_nothing_and_read_again() -> None:
    episode = Episode("k", [1], alert="a-1", since=5, told=6, count=3, met=4, began="e", scope={"x": 1})

    raw = json.loads(json.dumps(episode.dump([1])))

    assert "held" not in raw and "last" not in raw
    assert Episode.load("k", [1], raw) == episode


def test_an_alert_is_named_after_rule_key_and_cause() -> None:
    assert alert_id("hot", "k", "e") == alert_id("hot", "k", "e") != alert_id("hot", "l", "e")
