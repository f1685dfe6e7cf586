"""Reads from a running edge all that must outlive a change of version."""

from __future__ import annotations

from typing import Any

import httpx

# The figures that are stored. Others are of attempts and times, and go on changing while an edge runs.
_STATS = ("events_delivered", "events_failed", "events_dropped", "queued_events")
_HEALTH = ("state", "reason", "active", "failing_since", "trips", "waiting_events")


async def read_answers(http: httpx.AsyncClient) -> dict[str, Any]:
    """Reads sessions, figures, endpoint states, dead letters, jobs, recoveries, runs and alerts."""

    async def get(path: str) -> Any:
        answer = await http.get(path)
        answer.raise_for_status()
        return answer.json()

    sessions = {each["name"]: each for each in (await get("/callbacks/sessions"))["sessions"] if each["name"]}
    webhooks = {name: each for name, each in sessions.items() if each["delivery_method"] == "webhook"}
    return {
        "sessions": sessions,
        "stats": {
            name: {field: stats[field] for field in _STATS}
            for name, each in webhooks.items()
            for stats in [await get(each["urls"]["stats"])]
        },
        "health": {
            name: {field: health[field] for field in _HEALTH}
            for name, each in webhooks.items()
            for health in [await get(each["urls"]["health"])]
        },
        "recoveries": {name: (await get(each["urls"]["recoveries"]))["recoveries"] for name, each in webhooks.items()},
        "attempts": {
            name: (await get(f"{each['urls']['attempts']}?limit=100"))["attempts"] for name, each in webhooks.items()
        },
        "deadletters": (await get("/deadletters"))["deadletters"],
        "summary": (await get("/deadletters/summary"))["by_reason"],
        "jobs": (await get("/deadletters/jobs"))["jobs"],
        "runs": (await get("/runs"))["runs"],
        "alerts": (await get("/alerts"))["alerts"],
    }
