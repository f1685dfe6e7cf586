"""Names operations by verb and noun, as generated clients name their functions, and describes them and their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from edge.http.openapi.operation import Operation

# Handlers whose own names do not begin with a verb, or say too little beside all others.
_NAMES: Mapping[str, str] = {
    "camera_film": "watch_camera_mp4",
    "camera_mjpeg": "watch_camera_mjpeg",
    "camera_snapshot": "read_camera_snapshot",
    "camera_socket": "open_camera_socket",
    "camera_still_jpeg": "read_camera_still_jpeg",
    "camera_still_png": "read_camera_still_png",
    "change_peer": "change_whep_peer",
    "client_module": "read_client_module",
    "console_page": "show_console",
    "console_types": "read_console_types",
    "describe_peers": "describe_whep",
    "end_peer": "end_whep_peer",
    "endpoint_health": "read_endpoint_health",
    "events_page": "show_event_reference",
    "explorer_page": "show_api_explorer",
    "livez": "check_liveness",
    "octane_mjpeg": "watch_octane_mjpeg",
    "octane_snapshot": "read_octane_snapshot",
    "octane_socket": "open_octane_socket",
    "offer_peer": "offer_whep_peer",
    "openapi": "read_openapi",
    "overall_stats": "read_overall_stats",
    "prometheus": "read_metrics",
    "readyz": "check_readiness",
    "recorded_still": "read_recording_still",
    "run_picture": "read_run_picture",
    "session_stats": "read_session_stats",
    "socket_camera_page": "open_camera_page_socket",
    "socket_channels": "open_channels_socket",
    "socket_session": "open_session_socket",
    "socket_viewport": "open_viewport_socket",
    "to_console_page": "redirect_to_console",
}
# The second address of one handler.
_BY_PATH: Mapping[str, str] = {"/console/": "redirectFromConsoleFolder"}


def operation_id(name: str, path: str) -> str:
    """The operation of a route, by its name: `list_sessions` is `listSessions`."""
    first, *rest = _NAMES.get(name, name).split("_")
    return _BY_PATH.get(path) or first + "".join(each.capitalize() for each in rest)


@cache
def descriptions() -> Mapping[str, str]:
    """What operations do beyond their summaries, by operationId."""
    text = (Path(__file__).parent / "descriptions.yaml").read_text(encoding="utf-8")
    found: dict[str, str] = yaml.safe_load(text)
    return found


def summary_and_description(declared: Operation, operation: str) -> tuple[str, str]:
    """The first part of what a handler says of itself, and all that is known beyond it."""
    summary, *rest = re.split("; |: ", declared.summary, maxsplit=1)
    more = "".join(rest)
    more = f"{more[:1].upper()}{more[1:]}. " if more else ""
    return summary, more + (declared.description or descriptions().get(operation, ""))


# What is in a path, and an example of it.
_IN_PATHS: Mapping[str, tuple[str, str]] = {
    "actor": ("The actor's name.", "agent"),
    "agent": ("The name of an agent that serves.", "assistant"),
    "assistant": ("The name of an agent that serves.", "assistant"),
    "backtest": ("As starting the back-test answered it.", "bt_4f1c09d2"),
    "chat": ("The chat's id, which its client chose.", "chat-7"),
    "checkpoint": ("As the states of the thread name it.", "1-5f3a9c1e-00000000002a-9b1c04e2"),
    "command": ("The command's name.", "stop"),
    "id": ("As lists and answers name it.", "42"),
    "instance": ("The actor's instance; most have one, `main`.", "main"),
    "job": ("The job's id.", "job-7"),
    "method": ("A method of that service.", "getTime"),
    "n": ("The still's number, from 1.", "1"),
    "name": ("The rule's name.", "camera_silent"),
    "part": ("The part's name.", "campaign-3"),
    "peer": ("From the Location of the answer to the offer.", "p1"),
    "recovery": ("As starting the recovery answered it.", "rec_4f1c09d2"),
    "run": ("The run's id, the second token of its subjects.", "run-42"),
    "service": ("A service of Octane's gRPC API.", "ApiTimeService"),
    "session_id": ("As creating the session answered it.", "sess_0123456789abcdef"),
    "subject": ("A subject, or a pattern of subjects.", "job.7.output"),
    "thread": ("The thread's id.", "thread-1"),
    "type": ("The event type's name.", "progress"),
}
_ENTITIES: Mapping[str, tuple[str, str]] = {
    "/cameras": ("The camera's name.", "main"),
    "/octane": ("The render's name.", "main"),
}


def in_path(name: str, path: str) -> dict[str, Any]:
    """Describes a parameter of a path."""
    description, example = _IN_PATHS.get(name) or next(
        (said for prefix, said in _ENTITIES.items() if path.startswith(prefix)), ("The entity's id.", "campaign-1")
    )
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
        "example": example,
    }


# Parameters of queries whose Structs say no more than their names; names that mean the same wherever they are.
_IN_QUERIES: Mapping[str, str] = {
    "action": "What becomes of the run; `interrupt` is the only way.",
    "cancel_on_disconnect": "Ask the run to stop where this connection ends before it.",
    "category": "Alerts of this category.",
    "content": "The text to evaluate.",
    "creativeId": "The id of what is evaluated, which the answer repeats.",
    "dialect": "The form of the events.",
    "domain": "The domain of the run; left out, the first that has one of the name.",
    "entity": "Alerts about this entity.",
    "format": "The encoding of the pictures.",
    "include_intermediate_results": "Also events of types that are intermediate, such as tokens.",
    "limit": "At most so many.",
    "offset": "Skip so many.",
    "origin": "Where the delivery was given up.",
    "reason": "Why the delivery was given up.",
    "rule": "Alerts of this rule.",
    "status": "Those with this status.",
    "transcript": "The text to score.",
    "type": "The kind of the evaluation.",
    "userId": "The user, in the field of the guide.",
    "videoUrl": "The address of the video that is scored.",
}


def described(query: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter of a query with a description."""
    return {**query, "description": query["description"] or _IN_QUERIES.get(query["name"], "")}
