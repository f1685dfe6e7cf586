"""Reads one session with a Python client, as its users do: `python readers.py CLIENT URL COUNT START`.

Prints `reader cursor` for each event. Who has to come back by himself does so with the last id that was read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

PAUSE = 0.05


def say(reader: int, cursor: str) -> None:
    sys.stdout.write(f"{reader} {cursor}\n")
    sys.stdout.flush()


class Events:
    """A parser of lines, as many a program has one of its own."""

    def __init__(self) -> None:
        self.name, self.id, self.data = "message", "", ""

    def take(self, line: str) -> str | None:
        """Takes a line; returns the id of the application event that it ends."""
        field, _, value = line.partition(": ")
        if line == "":
            name, data, self.name, self.data = self.name, self.data, "message", ""
            assert name != "gap", data
            if name == "message" and data:
                assert json.loads(data)["cursor"] == self.id
                return self.id
        elif field == "event":
            self.name = value
        elif field == "id":
            self.id = value
        elif field == "data":
            self.data += value
        return None


def by_requests(url: str, place: str) -> Iterator[str]:
    import requests

    events = Events()
    with requests.get(f"{url}/sse", headers={"Last-Event-ID": place}, stream=True, timeout=60) as answer:
        for line in answer.iter_lines(decode_unicode=True):
            if cursor := events.take(line):
                yield cursor


def by_sseclient_py(url: str, place: str) -> Iterator[str]:
    import requests
    import sseclient

    with requests.get(f"{url}/sse", headers={"Last-Event-ID": place}, stream=True, timeout=60) as answer:
        for event in sseclient.SSEClient(answer).events():
            if event.event == "message":
                assert json.loads(event.data)["cursor"] == event.id
                yield event.id


def by_requests_sse(url: str, place: str) -> Iterator[str]:
    import requests_sse

    with requests_sse.EventSource(f"{url}/sse", headers={"Last-Event-ID": place}, timeout=60) as source:
        for event in source:
            if event.type == "message":
                assert json.loads(event.data)["cursor"] == event.last_event_id
                yield event.last_event_id


def by_launchdarkly(url: str, place: str) -> Iterator[str]:
    """Comes back by itself."""
    import ld_eventsource
    from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy

    client = ld_eventsource.SSEClient(
        connect=ConnectStrategy.http(f"{url}/sse"),
        error_strategy=ErrorStrategy.always_continue(),
        retry_delay_strategy=RetryDelayStrategy.default(max_delay=1),
        last_event_id=place,
    )
    for event in client.events:
        if event.event == "message":
            assert json.loads(event.data)["cursor"] == event.id
            yield event.id


async def by_aiohttp(url: str, place: str, took: Callable[[str], None]) -> None:
    import aiohttp

    events = Events()
    async with aiohttp.ClientSession() as http, http.get(f"{url}/sse", headers={"Last-Event-ID": place}) as answer:
        async for line in answer.content:
            if cursor := events.take(line.decode().rstrip("\r\n")):
                took(cursor)


async def by_aiohttp_sse_client(url: str, place: str, took: Callable[[str], None]) -> None:
    from aiohttp_sse_client.client import EventSource

    async with EventSource(f"{url}/sse", headers={"Last-Event-ID": place}) as source:
        async for event in source:
            if event.type is None:
                assert json.loads(event.data)["cursor"] == event.last_event_id
                took(event.last_event_id)


async def by_httpx_sse(url: str, place: str, took: Callable[[str], None]) -> None:
    import httpx
    import httpx_sse

    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as http,
        httpx_sse.aconnect_sse(http, "GET", f"{url}/sse", headers={"Last-Event-ID": place}) as source,
    ):
        async for event in source.aiter_sse():
            if event.event == "message":
                assert event.json()["cursor"] == event.id
                took(event.id)


async def by_websockets(url: str, place: str, took: Callable[[str], None]) -> None:
    import websockets

    address = f"{url.replace('http', 'ws', 1)}/ws?cursor={place}"
    async with websockets.connect(address, proxy=None, open_timeout=120, close_timeout=1) as socket:
        async for message in socket:
            said = json.loads(message)
            assert said.get("control") != "gap", said
            if "control" not in said:
                took(said["cursor"])


THREADED: dict[str, Callable[[str, str], Iterator[str]]] = {
    "requests": by_requests,
    "sseclient-py": by_sseclient_py,
    "requests-sse": by_requests_sse,
    "launchdarkly-eventsource": by_launchdarkly,
}
LOOPED: dict[str, Callable[[str, str, Callable[[str], None]], Awaitable[None]]] = {
    "aiohttp": by_aiohttp,
    "aiohttp-sse-client": by_aiohttp_sse_client,
    "httpx-sse": by_httpx_sse,
    "websockets": by_websockets,
}


def thread(reader: int, client: str, url: str, place: str) -> None:
    while True:
        try:
            for cursor in THREADED[client](url, place):
                place = cursor
                say(reader, cursor)
        except (OSError, EOFError) as lost:  # requests' errors, which are OSErrors, and the sockets' own
            print(type(lost).__name__, file=sys.stderr)
        time.sleep(PAUSE)


async def task(reader: int, client: str, url: str, place: str) -> None:
    def took(cursor: str) -> None:
        nonlocal place
        place = cursor
        say(reader, cursor)

    while True:
        try:
            await LOOPED[client](url, place, took)
        except AssertionError:
            raise
        except Exception as lost:  # noqa: BLE001 - each library has a family of its own for a connection that broke
            print(type(lost).__name__, file=sys.stderr)
        await asyncio.sleep(PAUSE)


async def tasks(client: str, url: str, count: int, place: str) -> None:
    async with asyncio.TaskGroup() as group:
        for reader in range(count):
            group.create_task(task(reader, client, url, place))


def main() -> None:
    client, url, count, place = sys.argv[1:]
    if client in LOOPED:
        asyncio.run(tasks(client, url, int(count), place))
    for reader in range(int(count)):
        threading.Thread(target=thread, args=(reader, client, url, place)).start()


if __name__ == "__main__":
    main()
