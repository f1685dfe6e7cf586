"""The Python SDK: `from router.sdk import Run` in a program that emits events about its own work."""

from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import (
    OutboxFull,
    Overflow,
    RunOver,
    RunReport,
    RunSettings,
    RunStopped,
    ToolCall,
    Unsent,
)

__all__ = [
    "OutboxFull",
    "Overflow",
    "Run",
    "RunOver",
    "RunReport",
    "RunSettings",
    "RunStopped",
    "SyncRun",
    "ToolCall",
    "Unsent",
]
