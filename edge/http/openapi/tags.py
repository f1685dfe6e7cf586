"""Sorts operations by tags, each with a description, and tags by groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_OF_WEBHOOKS = (
    "attempts", "resend", "recover", "replay", "recoveries", "health", "enable", "disable", "secret", "verify", "alerts", "deliveries",
    "portal",
)  # fmt: skip

# Each tag with what its operations are about, and prefixes of their paths; an operation has the tag of the longest prefix of its path.
TAGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Events": ("Publish events, and read them without a session.", ("/events",)),
    "Sessions": (
        "A session selects events and delivers them over WebSocket, SSE, polling or a webhook, by one cursor.",
        ("/callbacks", "/me", "/tickets"),
    ),
    "Webhooks": (
        "An endpoint's health, attempts, repeats and secrets; each belongs to a session with `delivery_method` webhook.",
        tuple(f"/callbacks/sessions/{{session_id}}/{way}" for way in _OF_WEBHOOKS),
    ),
    "Dead letters": ("Deliveries that were given up: find them, send them again, delete them.", ("/deadletters",)),
    "Actors": ("What actors do now.", ("/actors",)),
    "Commands": ("Requests to actors, with JSON Schemas of their arguments.", ("/commands",)),
    "Runs": ("What agents, jobs and threads do now, and have done.", ("/runs",)),
    "Alerts": ("Alerts of rules, of applications and of Alertmanagers.", ("/alerts",)),
    "Rules": ("What raises alerts: create, check, back-test.", ("/rules",)),
    "Entities": ("The whole state of what has metrics.", ("/entities",)),
    "Cameras": ("Pictures and video of cameras.", ("/cameras",)),
    "Recordings": ("Stored video of cameras.", ("/recordings",)),
    "Octane": ("Pictures of renders.", ("/octane", "/octanes")),
    "Catalogue": (
        "Event types with their schemas, and this document.",
        ("/schemas", "/openapi.json", "/asyncapi.json"),
    ),
    "System": ("Probes, metrics and rates.", ("/livez", "/readyz", "/metrics", "/throughput")),
    "AG-UI": ("Agents for clients of the AG-UI protocol.", ("/ag-ui",)),
    "Agent runs": ("Runs and threads for clients of the agent-run guide.", ("/agent-run", "/thread")),
    "AI SDK": ("Chats for `useChat` of the AI SDK.", ("/api/chat",)),
    "TanStack AI": ("Chats for TanStack AI.", ("/tanstack",)),
    "LangGraph": (
        "Agents for clients of LangGraph's API.",
        ("/threads", "/assistants", "/info", "/runs/stream", "/runs/wait", "POST /runs"),
    ),
    "Durable Streams": ("Streams for clients of the Durable Streams protocol.", ("/streams",)),
    "Real-time guide": (
        "Channels and streams for clients of the real-time guide.",
        ("/ws", "/api/stream", "/api/jobs", "/api/realtime", "/health"),
    ),
    "CompuCyto": ("A camera for CompuCyto's page.", ("/ws/camera",)),
    "octaneWebR": ("A viewport for octaneWebR's client.", ("/api/callbacks", "/api/health", "/render", "/api/grpc")),
    "Pages": ("The console and this explorer.", ("/", "/client.js", "/console", "/docs", "/portal")),
}
OTHER = "Pages"
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Events and delivery": ("Events", "Sessions", "Webhooks", "Dead letters"),
    "Agents and alerts": ("Runs", "Actors", "Commands", "Alerts", "Rules", "Entities"),
    "Cameras and renders": ("Cameras", "Recordings", "Octane"),
    "Operations": ("Catalogue", "System", "Pages"),
    "Other protocols": (
        "AG-UI", "Agent runs", "AI SDK", "TanStack AI", "LangGraph", "Durable Streams", "Real-time guide", "CompuCyto", "octaneWebR",
    ),
}  # fmt: skip


def tag_of(method: str, path: str) -> str:
    """The tag of an operation; that of pages for a path which no tag names, as a test finds out."""
    found = [
        (len(prefix), tag)
        for tag, (_, prefixes) in TAGS.items()
        for prefix in prefixes
        if path == prefix or (prefix != "/" and path.startswith(f"{prefix}/")) or prefix == f"{method} {path}"
    ]
    return max(found, default=(0, OTHER))[1]


def tags(used: Iterable[str]) -> dict[str, Any]:
    """The tags that a document uses, and their groups, which Scalar and Redoc show."""
    known = set(used)
    return {
        "tags": [{"name": name, "description": said} for name, (said, _) in TAGS.items() if name in known],
        "x-tagGroups": [
            {"name": name, "tags": shown}
            for name, members in _GROUPS.items()
            if (shown := [each for each in members if each in known])
        ],
    }
