"""Waits for the end of a turn of a thread, and answers with what the thread says then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.dialects.folding import Folding
from edge.dialects.langgraph import LANGGRAPH, GraphState, error_of
from edge.http.body import edge_of
from edge.http.credentials import address_of, principal_of
from edge.hub.reader import Reader, open_reader
from edge.surfaces.lives import find_turns
from edge.surfaces.serving import session_of_surface
from edge.surfaces.surface import Reading
from edge.transports.abort import cut
from edge.types import Notice
from edge.view import FULL
from router.codec import to_json

# What a JSON answer may begin with: proxies see that it lives.
BEAT = b"\n"


async def until_over(
    request: Request, reading: Reading, beat: Callable[[], Awaitable[None]] | None = None
) -> GraphState | None:
    """The state of a turn at its end; None where this process ends before. Raises Problem or BrokerError."""
    edge = edge_of(request)
    session = session_of_surface("join_graph_run", reading)
    auth = edge.connection_auths.open(principal_of(request.scope), session, address_of(request))
    try:
        view = session.view if auth is None else auth.view(session)
        folding = Folding(LANGGRAPH, reading.parameters, ending=reading.ending)
        stats = edge.cluster_stats.of(session.id)
        async with open_reader(edge.hub, view, session.id, stats, FULL, kind=Reader) as reader:
            reader.authorize(auth)
            async with aclosing(reader.read(reading.start)) as steps:
                async for step in steps:
                    if isinstance(step, Notice):
                        if step.control == "bye":
                            return None
                        if beat is not None:
                            await beat()
                        continue
                    for record in step.records:
                        if record.event is not None:
                            folding.take(record, step.epoch)
                    if folding.over:
                        state: GraphState = folding.state
                        return state
        return None
    finally:
        if auth is not None:
            auth.leave()


async def values_of(request: Request, thread: str, run: str, state: GraphState) -> bytes:
    """What a client is told that waited for a run: the values of the thread, and why the run failed, if it did."""
    final = next((turn.final for turn in await find_turns(request, thread) if turn.incarnation == run), None)
    failed = final is not None and (final.data.get("success") is False or bool(final.data.get("error")))
    if final is None or not failed or final.data.get("status") == "cancelled" or final.data.get("cancelled"):
        return state.values()
    return state.values()[:-1] + b',"__error__":' + to_json(error_of(final.data)) + b"}"


def joined(request: Request, thread: str, run: str, reading: Reading) -> ASGIApp:
    """Answers with the values of a thread once a run in it is over.

    The head is sent at once, and names the address where a client whose connection is cut may wait again.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"), (b"cache-control", b"no-store"), *reading.headers,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def beat() -> None:
            await send({"type": "http.response.body", "body": BEAT, "more_body": True})

        waiting = asyncio.ensure_future(_wait(request, thread, run, reading, beat))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                if reading.abandoned is not None:
                    await reading.abandoned()
                return
            body = waiting.result()
        finally:
            for task in (waiting, gone):
                task.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)
        if body is None:
            # An answer that just ended would be one without values; a client of one that is cut waits again.
            cut(scope)
        await send({"type": "http.response.body", "body": body or b""})

    return answer


async def _wait(
    request: Request, thread: str, run: str, reading: Reading, beat: Callable[[], Awaitable[None]]
) -> bytes | None:
    state = await until_over(request, reading, beat)
    return None if state is None else await values_of(request, thread, run, state)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
