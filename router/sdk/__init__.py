"""The Python SDK: `from router.sdk import Run` in a program that emits events about its own work."""

from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.sdk.values import RunOver, RunSettings, RunStopped, ToolCall

__all__ = ["Run", "RunOver", "RunSettings", "RunStopped", "SyncRun", "ToolCall"]
