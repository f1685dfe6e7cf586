"""Answers for several worker processes as if they were one: readiness, metrics, log levels (ADR 9).

Each worker has metrics of its own and serves them on a private socket. The process above them merges the metrics of all, each
with the label `worker`; it is ready as long as one of them is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence

from ops.process.http import HttpAnswer, get

# How often the workers are asked whether they are ready; a probe comes every few seconds.
CHECK_EVERY = 1.0
# A worker that answers later is left out: a scraper waits for ten seconds.
REQUEST_TIMEOUT = 5.0


def open_internal() -> socket.socket:
    """Opens a listening socket for one worker, on loopback and a port that is free."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    listener.setblocking(False)
    return listener


class Workers:
    """The workers of one process, by their internal ports; `proved` says whether the process at a place is ours."""

    def __init__(self, ports: Sequence[int], proved: Callable[[int], bool] = lambda _place: True) -> None:
        self._ports = ports
        self._proved = proved
        self._ready = False

    def checks(self) -> dict[str, bool]:
        """The checks of readiness: that one of them takes connections."""
        return {"a_worker": self._ready}

    async def watch(self) -> None:
        """Asks the workers whether they are ready, until cancelled."""
        while True:
            answers = await self._request_all("/readyz", timeout=CHECK_EVERY)
            self._ready = any(
                answer is not None and answer.status == 200 and self._proved(place)
                for place, answer in enumerate(answers)
            )
            await asyncio.sleep(CHECK_EVERY)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Merges the metrics of all workers in the requested format; a worker that does not answer is left out."""
        answers = await self._request_all("/metrics", accept=accept)
        told = [(place, answer) for place, answer in enumerate(answers, 1) if answer and answer.status == 200]
        kind = told[0][1].headers.get("content-type", "text/plain") if told else "text/plain"
        texts = [(str(place), answer.body.decode()) for place, answer in told]
        return merged(texts).encode(), kind

    async def forward(self, method: str, path: str) -> None:
        """Sends one request to all workers; one that is just restarting misses it and starts as configured."""
        await self._request_all(path, method)

    async def _request_all(
        self, path: str, method: str = "GET", accept: str = "", timeout: float = REQUEST_TIMEOUT
    ) -> list[HttpAnswer | None]:
        async def one(port: int) -> HttpAnswer | None:
            try:
                return await get(
                    "127.0.0.1", port, path, timeout, method, headers={"Accept": accept} if accept else None
                )
            except OSError:
                return None

        return await asyncio.gather(*map(one, self._ports))


def merged(texts: Iterable[tuple[str, str]]) -> str:
    """Merges expositions, family by family as the format requires, each sample with its worker's label."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    end = ""
    for worker, text in texts:
        family, described = "", set(heads)
        for line in text.splitlines():
            if line == "# EOF":
                end = "# EOF\n"
            elif line.startswith("# "):
                family = line.split(" ", 3)[2]
                if family not in described:
                    heads.setdefault(family, []).append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, worker))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return "".join(f"{line}\n" for line in lines) + end


def _labelled(sample: str, worker: str) -> str:
    """Adds the label to `name value` or `name{a="b"} value`; what follows, such as an exemplar, stays as it is."""
    space, brace = sample.find(" "), sample.find("{")
    if 0 <= brace < space:
        rest = sample[brace + 1 :]
        return f'{sample[:brace]}{{worker="{worker}"{"" if rest.startswith("}") else ","}{rest}'
    return f'{sample[:space]}{{worker="{worker}"}}{sample[space:]}'
