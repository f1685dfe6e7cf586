"""Programs that emit by adapters: `python -m tests.browser.programs agent|bars NATS_URL RUN GO`, which wait for a file at half way."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

from router.sdk import Run, RunStopped, SyncRun
from router.sdk.adapters.tqdm import reporting_bars

WORDS = " ".join(f"word{n}" for n in range(40))


def wait_for(go: Path) -> None:
    while not go.exists():
        time.sleep(0.02)


async def run_agent(url: str, name: str, go: Path) -> None:
    """A LangGraph agent with a fake model: it looks something up, for as long as it takes, and answers in many tokens."""
    # The libraries take seconds to import, which the other program need not wait for.
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    from router.sdk.adapters.langchain import LangChainHandler
    from tests.router.sdk.adapters.models import USED, agent, calls

    @tool
    def look_up(what: str) -> str:
        """Looks something up."""
        wait_for(go)
        return f"all about {what}"

    graph = agent([calls("look_up", what="runs"), AIMessage(content=WORDS, usage_metadata=USED)], look_up)
    async with Run(name, url=url, name="LangChain agent") as run:
        handler = LangChainHandler(run)
        async for _ in graph.astream({"messages": [("user", "go")]}, {"callbacks": [handler]}, stream_mode="messages"):
            pass
        await run.complete({"said": WORDS}, tokens_used=handler.tokens_used)


def run_bars(url: str, name: str, go: Path) -> None:
    """A loop of somebody's with tqdm, which would take for ever."""
    from tqdm import trange

    with contextlib.suppress(RunStopped), SyncRun(name, url, name="tqdm loop") as run, reporting_bars(run):
        for n in trange(1000, desc="epochs", mininterval=0, miniters=1):
            if n == 500:
                wait_for(go)
            time.sleep(0.001 if n < 500 else 0.2)


if __name__ == "__main__":
    _, what, url, name, go = sys.argv
    if what == "agent":
        asyncio.run(run_agent(url, name, Path(go)))
    else:
        run_bars(url, name, Path(go))
