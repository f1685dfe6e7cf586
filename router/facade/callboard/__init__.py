"""Callboard for programs: tell of your own work by `Run`, read what others tell by `Client`, answer chats by `agent`.

    import callboard

    with callboard.SyncRun("run-42") as run:
        run.progress(0.5, message="half way")

    for event in callboard.SyncClient("http://localhost:8000").session(subjects=["agent.run-42.>"], cursor="earliest"):
        print(event.type, event.data)

`pip install callboard` brings these alone; `callboard[server]` is the edge, the actors and the command.
"""

from router.sdk import (
    OutboxFull,
    Overflow,
    Run,
    RunOver,
    RunReport,
    RunSettings,
    RunStopped,
    SyncRun,
    ToolCall,
    Unsent,
)
from router.sdk.agents import AgentFunction, AgentInput, AgentMessage, BlockingRun, agent, serve
from router.sdk.callbacks import BadCallbackConfig, Callbacks, CallbacksUnavailable
from router.sdk.client import Client, SyncClient
from router.sdk.reader import ReadRefused, Received

__all__ = [
    "AgentFunction",
    "AgentInput",
    "AgentMessage",
    "BadCallbackConfig",
    "BlockingRun",
    "Callbacks",
    "CallbacksUnavailable",
    "Client",
    "OutboxFull",
    "Overflow",
    "ReadRefused",
    "Received",
    "Run",
    "RunOver",
    "RunReport",
    "RunSettings",
    "RunStopped",
    "SyncClient",
    "SyncRun",
    "ToolCall",
    "Unsent",
    "agent",
    "serve",
]
